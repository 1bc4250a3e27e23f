"""Arithmetic over the processes of one fit; in a process by itself it changes nothing.

Torch is imported when there is something to compute: whoever plans or lists does without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def process_count() -> int:
    """How many processes train the fit of this one together."""
    import torch.distributed

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def mean_over_processes(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The element-wise mean of each tensor over all processes, which must call this with the same shapes and types.

    All tensors of a type travel as one, since many small messages would each wait for the slowest process.
    """
    count = process_count()
    if count == 1 or not tensors:
        return tensors
    import torch

    means: dict[int, Tensor] = {}
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
        positions = [position for position, tensor in enumerate(tensors) if tensor.dtype == kind]
        joined = torch.cat([tensors[position].detach().reshape(-1) for position in positions])
        torch.distributed.all_reduce(joined)
        joined /= count
        parts = torch.split(joined, [tensors[position].numel() for position in positions])
        means |= {position: part.view(tensors[position].shape) for position, part in zip(positions, parts, strict=True)}
    return [means[position] for position in range(len(tensors))]
