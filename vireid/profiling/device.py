"""The machine that measures: what it is, its threads, and its two roofs, arithmetic and memory traffic.

A roofline (Williams et al., CACM 2009) sets what a network achieves against the lower of the two. The roofs are those
that PyTorch reaches at a number of threads, not the data sheet's.
"""

import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_limits

from vireid.core.environment import MACHINE_IDENTITY
from vireid.core.processor import ISA_FLAGS, cpu_fields, cpu_flags, cpu_model, emulated, kernel_flags
from vireid.profiling.sampling import timed
from vireid.profiling.sensors.clock import frequency, governor
from vireid.profiling.sensors.reading import text_of


def describe_device() -> dict[str, Any]:
    """Describe processor, memory, operating system, PyTorch build and accelerators; None where unreadable.

    ``threads`` and ``affinity`` are those of the calling process; everything else is the machine's.
    """
    info, flags, usable = cpu_fields(), cpu_flags(), kernel_flags()
    return {
        "cpu": cpu_model(),
        "cpu_family_model_stepping": [info.get(k) for k in ("cpu family", "model", "stepping")],
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "kernel_isa": [flag for flag in ISA_FLAGS if flag in usable],  # less what the environment forbids kernels
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "logical_cores": psutil.cpu_count(logical=True),
        "physical_cores": psutil.cpu_count(logical=False),
        "affinity": affinity(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": f"{platform.system()} {platform.release()}",
        "governor": governor().value,
        "frequency_mhz": frequency().value or _frequency(),
        "torch": torch.__version__,
        "torch_build": _build_settings(),
        "threads": torch.get_num_threads(),
        "accelerators": _accelerators(),
    }


def device_identity(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a description that must agree before two latencies may be put side by side.

    What the environment holds kernels to is no part of it (``vireid.core.processor.kernels_held_to``).
    """
    return {key: description[key] for key in MACHINE_IDENTITY}


def affinity() -> list[int] | None:
    """Cores that this process may run on; None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def available_cores() -> int:
    """Number of cores that this process may run on."""
    return len(affinity() or []) or os.cpu_count() or 1


def _frequency() -> dict[str, float] | None:
    """Where there is no ``/sys``."""
    try:
        frequencies = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError):
        return None
    return (
        None
        if frequencies is None
        else {"min": frequencies.min, "max": frequencies.max, "current": frequencies.current}
    )


def _build_settings() -> dict[str, str]:
    """BLAS, oneDNN and parallel back end of the PyTorch build."""
    text = torch.__config__.show()
    wanted = ("BLAS_INFO", "USE_MKLDNN", "USE_OPENMP", "USE_CUDA", "LAPACK_INFO")
    settings = {key: m[1] for key in wanted if (m := re.search(rf"{key}=([^,\s]+)", text))}
    for library in ("MKL-DNN", "oneAPI Math Kernel Library"):
        if match := re.search(rf"{library}[^\n]*?(\d+\.\d+(?:\.\d+)?|Version [\w.\-]+)", text):
            settings[library] = match[1]
    return settings


def _accelerators() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    devices = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "compute_capability": [properties.major, properties.minor],
                "cuda": torch.version.cuda,
            }
        )
    return devices


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Run PyTorch and the native thread pools (BLAS, OpenMP) with ``threads`` threads; restored afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


MATRIX = 2048  # rows and columns of the product: 48 MB in float32, so that blocking and packing pay
TRIAD_BYTES = 256 * 2**20  # of each of the three arrays where the last-level cache is unknown
CACHES = 4  # times the last-level cache that each array of the triad has at least (McCalpin's rule for STREAM)


@dataclass(frozen=True, slots=True)
class Peak:
    """The best of several repetitions, and all of them."""

    value: float
    unit: str
    threads: int
    seconds: list[float]  # raw
    method: str


def peak_gflops(threads: int, *, size: int = MATRIX, dtype: torch.dtype = torch.float32, seconds: float = 1.0) -> Peak:
    """Arithmetic rate of a square matrix product, 2·n³ operations; the faster of MKL and oneDNN where both are there.

    Args:
        threads: CPU threads.
        size: n.
        dtype: of the matrices.
        seconds: time to spend on each implementation; three repetitions at least.
    """
    first = torch.linspace(-1, 1, size * size).view(size, size).to(dtype)
    second = first.flip(0).contiguous()
    out = torch.empty_like(first)
    products: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(first, second, out=out)}
    one_dnn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what linear layers of compiled graphs call
    if one_dnn is not None and _has_product(dtype):
        products["oneDNN linear"] = lambda: one_dnn(first, second, None, "none", [], "")
    with thread_limit(threads), torch.inference_mode():
        taken = {name: _repeat(product, seconds) for name, product in products.items()}
    best = min(taken, key=lambda name: min(taken[name]))
    return Peak(
        value=2 * size**3 / min(taken[best]) / 1e9,
        unit="GFLOP/s",
        threads=threads,
        seconds=taken[best],
        method=f"{best}, {size}×{size}, {str(dtype).removeprefix('torch.')}",
    )


def peak_bandwidth(threads: int, *, array_bytes: int | None = None, seconds: float = 1.0) -> Peak:
    """Memory bandwidth of STREAM's triad, a = b + s·c: three arrays, each larger than any cache, two read, one written.

    Counted are 3 × the array's bytes, as STREAM does; a processor that first reads what it writes moves more.

    Args:
        threads: CPU threads.
        array_bytes: of each array; by default four times the last-level cache and 64 MiB at least, or 256 MiB where
            the cache is unknown.
        seconds: time to spend; three repetitions at least.
    """
    cache = last_level_cache()
    wanted = array_bytes or (TRIAD_BYTES if cache is None else max(TRIAD_BYTES // 4, CACHES * cache))
    count = max(1, wanted // 4)
    b, c, a = (torch.full((count,), value) for value in (1.0, 2.0, 0.0))
    with thread_limit(threads), torch.inference_mode():
        taken = _repeat(lambda: torch.add(b, c, alpha=3.0, out=a), seconds)
    return Peak(
        value=3 * 4 * count / min(taken) / 1e9,
        unit="GB/s",
        threads=threads,
        seconds=taken,
        method=f"triad over three arrays of {4 * count / 1e6:.0f} MB, float32",
    )


def _has_product(dtype: torch.dtype) -> bool:
    """Whether oneDNN's linear layer computes in it here; it emulates nothing, where ``torch.mm`` does."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and emulated("bf16") is None)


def last_level_cache(root: Path = Path("/")) -> int | None:
    """Bytes of the largest cache of the first processor; None where the system does not tell."""
    sizes: list[int] = []
    for file in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = text_of(file) or ""
        unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        digits = text.rstrip("KMG")
        if digits.isdigit():
            sizes.append(int(digits) * unit)
    return max(sizes, default=None)


def _repeat(call: Callable[[], object], seconds: float) -> list[float]:
    """Timings of a call, once discarded, for so long and at least three."""
    call()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < seconds:
        taken.append(timed(call))
    return taken
