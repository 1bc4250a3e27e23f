"""Rows of a batch of maps in portions whose intermediate results stay in a CPU's cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS = 1 << 19


def row_chunks(x: Tensor) -> Iterator[slice]:
    """Slices over the first dimension of ``x``; on an accelerator a single one."""
    size = max(1, _ELEMENTS // max(1, x.shape[1:].numel())) if x.device.type == "cpu" else max(1, len(x))
    for start in range(0, len(x), size):
        yield slice(start, start + size)


def at_least_single(x: Tensor) -> Tensor:
    """In float32, or float64 where that is given."""
    return x if x.dtype == torch.float64 else x.float()
