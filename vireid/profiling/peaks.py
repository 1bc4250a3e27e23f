"""The two roofs of a machine as measured here: arithmetic on the processor and bytes to and from memory.

A roofline (Williams et al., CACM 2009) sets what a network achieves against the lower of the two. The roofs are those
that PyTorch reaches at a number of threads, not the data sheet's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from vireid.core.processor import emulated
from vireid.profiling.device import thread_limit
from vireid.profiling.sampling import timed
from vireid.profiling.sensors.reading import text_of

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
    ways: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(first, second, out=out)}
    one_dnn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # what linear layers of compiled graphs call
    if one_dnn is not None and _has_product(dtype):
        ways["oneDNN linear"] = lambda: one_dnn(first, second, None, "none", [], "")
    with thread_limit(threads), torch.inference_mode():
        taken = {name: _repeat(way, seconds) for name, way in ways.items()}
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


def attainable_gflops(macs: float, moved_bytes: float, gflops: float, gigabytes_per_second: float) -> float:
    """The roof above a work of so many multiply-accumulates (two operations each) that moves so many bytes, GFLOP/s."""
    return min(gflops, 2 * macs / moved_bytes * gigabytes_per_second)


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
