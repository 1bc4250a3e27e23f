"""Global poolings of the baselines: B×D×h×w → B×D, in float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _at_least_single(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class AveragePool(nn.Module):
    """Mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w → B×D."""
        return _at_least_single(x).mean(dim=(2, 3))


class OffsetGeM(nn.Module):
    """Generalised mean as AGW's code computes it: (mean of x^p + 1e-12)^(1/p), without a floor on x ≥ 0.

    A channel that is 0 everywhere gives 1e-4 for p = 3, where a floor of 1e-6 on x would give 1e-6.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w (not negative) → B×D."""
        return (_at_least_single(x).pow(self.p).mean(dim=(2, 3)) + 1e-12).pow(1.0 / self.p)
