"""Name and instruction sets of the processor, from ``/proc/cpuinfo``."""

from __future__ import annotations

import platform
from pathlib import Path

from .reading import text_of

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


def cpu_fields(root: Path = Path("/")) -> dict[str, str]:
    """Fields of the first processor, with those that stand once at the end (ARM boards name the model there)."""
    blocks = (text_of(root / "proc/cpuinfo") or "").split("\n\n")
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
    board = fields.get("Model") or (text_of(root / "proc/device-tree/model") or "").rstrip("\0")
    named = fields.get("model name") or board or fields.get("Hardware")
    return named or platform.processor() or platform.machine()


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """Instruction-set flags as the kernel names them; empty elsewhere than on Linux."""
    fields = cpu_fields(root)
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())
