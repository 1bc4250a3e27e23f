"""Freed memory is kept for the next training step instead of being given back to the system and fetched again.

glibc maps every block above a threshold (32 MiB at most) afresh and unmaps it when it is freed. A training step on the
CPU frees and takes hundreds of feature maps of 10–100 MB; each new one costs a page fault per 4 KiB, which takes longer
than the arithmetic on it (on a virtual machine, half of the step). Kept on the heap they are reused as they are.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# glibc, malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_NEVER = -1  # as a size: the largest
_DEFAULT_MMAP_MAX = 65536
_MMAP_THRESHOLD = 32 << 20  # where glibc's own adaptation ends once large blocks have been freed
_SET_HERE = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER))
_SET_BACK = (
    (_M_MMAP_MAX, _DEFAULT_MMAP_MAX),
    (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD),
    (_M_TRIM_THRESHOLD, 2 * _MMAP_THRESHOLD),
)


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep what is freed inside for reuse; give it back to the system once at the end.

    It changes no result. The process holds more than it would otherwise, as freed blocks of one size leave gaps that
    blocks of another size do not fill: `docs/training.md` has the figures. A hole that is left in the heap takes large
    blocks of later work too, whose pages then stay until the next trim. Does nothing for an accelerator, whose
    allocator does the same by itself, and where the C library is not glibc.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    for parameter, value in _SET_HERE:
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _SET_BACK:
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    return libc
