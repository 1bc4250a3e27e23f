"""Instance normalisation that keeps channels-last memory, and IBN (Pan et al., ECCV 2018) built on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InstanceNorm2d(nn.InstanceNorm2d):
    """``torch.nn.InstanceNorm2d`` whose output has the memory format of its input.

    The library's kernel always returns contiguous memory, after which every following convolution pays a conversion.
    """

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → the same."""
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        y: Tensor = super().forward(x)
        return y.contiguous(memory_format=torch.channels_last) if channels_last else y


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest (IBN-a).

    Submodules are named as in the official IBN-Net weights: ``IN`` (affine, no running statistics) and ``BN``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = channels // 2
        self.IN = InstanceNorm2d(self.first, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.first)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → the same."""
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        first = x[:, : self.first].contiguous(memory_format=layout)
        rest = x[:, self.first :].contiguous(memory_format=layout)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)
