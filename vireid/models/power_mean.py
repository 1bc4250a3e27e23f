"""The power mean of GeM pooling for training: one pass over the map each way, and nothing kept but the map itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vireid.models.row_chunks import at_least_single, row_chunks

FLOOR = 1e-6


def power_mean(x: Tensor, p: float) -> Tensor:
    """(mean of max(x, 1e-6)^p)^(1/p) over positions, in float32 at least: B×D×h×w → B×D."""
    return at_least_single(x).clamp(min=FLOOR).pow(p).mean(dim=(2, 3)).pow(1.0 / p)


class PowerMean(torch.autograd.Function):
    """``power_mean`` with a gradient of its own, for a constant p.

    Written out, autograd keeps three maps of float32 and passes over memory a dozen times; with S = mean of x^p and
    y = S^(1/p) the gradient is dy/dx = (x/y)^(p−1) / (h·w) where x > 1e-6, else 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        """B×D×h×w → B×D."""
        y = torch.cat([power_mean(x[rows], p) for rows in row_chunks(x)])
        ctx.save_for_backward(x, y)
        ctx.p = p
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Gradient of the map, in its type and memory format."""
        x, y = ctx.saved_tensors
        result = torch.empty_like(x)
        inverse = y.reciprocal()[:, :, None, None]
        share = (grad / (x.shape[2] * x.shape[3]))[:, :, None, None]
        for rows in row_chunks(x):
            part = x[rows].to(y.dtype)
            slope = (part * inverse[rows]).pow_(ctx.p - 1.0).mul_(share[rows])
            result[rows] = torch.ops.aten.threshold_backward(slope, part, FLOOR)  # 0 where part ≤ FLOOR
        return result, None
