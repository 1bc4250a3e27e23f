"""What the processor is and can do: name, instruction sets, and which precisions it computes in natively.

Training, extraction, runtimes, peaks, records and tests ask here and nowhere else. Needs the standard library alone
(Python 3.9): a bundle takes this file along to devices.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Optional

# Instruction sets that decide how fast a network runs; of a machine's flags these enter its identity.
ISA_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)

# A precision is native where the processor has one of these: on x86, on x86 with tiles, on Arm. Everything else
# computes in it by way of float32, slower than float32 itself.
NATIVE = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}
_WORDS = {"bf16": "bfloat16", "fp16": "float16"}

# What a user may hold oneDNN's kernels to (PyTorch and OpenVINO have it), each level with the instructions it adds.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_LEVELS = (
    ("SSE41", ("sse4_2",)),
    ("AVX", ("avx",)),
    ("AVX2", ("avx2", "fma", "f16c")),
    ("AVX2_VNNI", ("avx_vnni",)),
    ("AVX2_VNNI_2", ("avx_vnni_int8", "avx_ne_convert")),
    ("AVX512_CORE", ("avx512f",)),
    ("AVX512_CORE_VNNI", ("avx512_vnni",)),
    ("AVX512_CORE_BF16", ("avx512_bf16",)),
    ("AVX512_CORE_FP16", ("avx512_fp16",)),
    ("AVX512_CORE_AMX", ("amx_tile", "amx_int8", "amx_bf16")),
    ("AVX512_CORE_AMX_FP16", ("amx_fp16",)),
)

# Which instructions sum the products of an int8 network, and with that its accuracy. ``vnni`` (AVX512-VNNI, AVX-VNNI,
# AMX) and NEON add products of 8-bit numbers in 32 bits. ``avx512`` and ``avx2`` without it add them in pairs in 16
# bits first (vpmaddubsw), where a sum is cut off at -32768 and 32767.
IntegerKernels = Literal["vnni", "avx512", "avx2", "neon_dotprod", "neon", "unknown"]
SATURATING = ("avx512", "avx2")
INTEGER_PRECISIONS = ("int8",)
OBEYS_LIMITS = ("openvino",)  # runtimes whose int8 kernels are oneDNN's; ONNX Runtime asks the processor itself
TORCH_RUNTIMES = ("eager", "channels_last", "compile")  # PyTorch's obey oneDNN's limit and ATEN_CPU_CAPABILITY


def integer_kernels(flags: Collection[str]) -> IntegerKernels:
    """The instructions that ONNX Runtime and oneDNN take for int8 on a processor with these flags.

    AVX-VNNI counts where AVX-512 does not stand above it: with AVX-512 both libraries take AVX-512's kernels, which
    have VNNI only where ``avx512_vnni`` or AMX is there too.
    """
    if "amx_int8" in flags and "amx_tile" in flags:
        return "vnni"
    if "avx512f" in flags:
        return "vnni" if "avx512_vnni" in flags else "avx512"
    if "avx2" in flags:
        return "vnni" if "avx_vnni" in flags else "avx2"
    if "asimd" in flags:
        return "neon_dotprod" if "asimddp" in flags else "neon"
    return "unknown"


def kernels_of_runtime(runtime: str, device: Optional[Mapping[str, Any]] = None) -> IntegerKernels:
    """The int8 kernels of a runtime on a machine as records describe it; on this one, now, without a description."""
    obeys = runtime in OBEYS_LIMITS
    if device is None:
        return integer_kernels(kernel_flags() if obeys else cpu_flags())
    flags = (device.get("kernel_isa") if obeys else None) or device.get("isa") or ()
    return integer_kernels(flags)


def kernels_held_to(runtime: str, device: Mapping[str, Any]) -> str:
    """What the environment held a runtime's kernels to on a machine as records describe it; empty where to nothing.

    A latency under such a limit is that of another kind of processor, so limited and unlimited ones are never pooled.
    ``AVX2`` where everything was held to it; PyTorch, of which ATen and oneDNN are limited apart, may say
    ``AVX2 in ATen alone``. Runtimes that ask the processor itself are held to nothing.
    """
    isa = device.get("isa") or ()
    usable = device.get("kernel_isa")  # older records have none, of which ATen's capability tells
    one_dnn = "" if usable is None or set(usable) == set(isa) else _level(usable)
    if runtime in OBEYS_LIMITS:
        return one_dnn
    if runtime not in TORCH_RUNTIMES:
        return ""
    aten = str(device.get("torch_cpu_capability") or "")
    own = "AVX512" if "avx512f" in isa else "AVX2" if "avx2" in isa else aten
    aten = "" if aten == own else aten
    if one_dnn == aten or (usable is None and aten):
        return aten
    both = [f"{held} in {library}" for held, library in ((one_dnn, "oneDNN"), (aten, "ATen")) if held]
    return " and ".join(both) if len(both) > 1 else f"{both[0]} alone"


def limiting(held: str) -> dict[str, str]:
    """The variables that hold kernels to what ``kernels_held_to`` calls so."""
    variables = {}
    for part in held.removesuffix(" alone").split(" and ") if held else []:
        level, _, library = part.partition(" in ")
        if library in ("", "oneDNN"):
            variables[LIMITS[0]] = level
        if library == "ATen" or (not library and level == "AVX2"):  # the one name that both share
            variables["ATEN_CPU_CAPABILITY"] = level.lower()
    return variables


def _level(flags: Collection[str]) -> str:
    """Name at oneDNN of the highest level that has any of these flags."""
    return next((name for name, added in reversed(_LEVELS) if set(added) & set(flags)), "nothing")


def cpu_fields(root: Path = Path("/")) -> dict[str, str]:
    """Fields of the first processor, with those that stand once at the end (ARM boards name the model there)."""
    blocks = _text_of(root / "proc/cpuinfo").split("\n\n")
    fields: dict[str, str] = {}
    for block in (blocks[0], blocks[-1]):
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
    return fields


def cpu_model(root: Path = Path("/")) -> str:
    """Name of the processor, else of the board, else what Python knows."""
    fields = cpu_fields(root)
    board = fields.get("Model") or _text_of(root / "proc/device-tree/model").rstrip("\0")
    named = fields.get("model name") or board or fields.get("Hardware")
    return named or platform.processor() or platform.machine()


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """Instruction-set flags as the kernel names them; empty elsewhere than on Linux."""
    fields = cpu_fields(root)
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())


def kernel_flags(root: Path = Path("/"), environment: Optional[Mapping[str, str]] = None) -> frozenset[str]:
    """Instruction sets that kernels may use: the processor's, less those that the environment forbids oneDNN."""
    flags = cpu_flags(root)
    allowed = _limit(os.environ if environment is None else environment)[1]
    names = [name for name, _ in _LEVELS]
    if allowed not in names:
        return flags
    return flags - {flag for _, added in _LEVELS[names.index(allowed) + 1 :] for flag in added}


def emulated(precision: str, root: Path = Path("/"), environment: Optional[Mapping[str, str]] = None) -> Optional[str]:
    """None where this processor computes in ``precision`` natively, else that it does not and what it lacks.

    ``fp32``, ``int8`` and every other precision without an entry in ``NATIVE`` are native everywhere.
    """
    needed = NATIVE.get(precision)
    if needed is None or kernel_flags(root, environment) & set(needed):
        return None
    lacks = f"no {_WORDS[precision]} instructions ({', '.join(needed)})"
    if cpu_flags(root) & set(needed):
        variable, level = _limit(os.environ if environment is None else environment)
        return f"{cpu_model(root)} may use {lacks} under {variable}={level}"
    return f"{cpu_model(root)} has {lacks}"


def _limit(environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in LIMITS:
        if environment.get(variable):
            return variable, environment[variable].upper()
    return LIMITS[0], ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
