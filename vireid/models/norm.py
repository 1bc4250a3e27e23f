"""Instance normalisation that keeps channels-last memory, and IBN (Pan et al., ECCV 2018) built on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.models.instance_norm import ChannelsLastInstanceNorm


class InstanceNorm2d(nn.InstanceNorm2d):
    """``torch.nn.InstanceNorm2d`` whose output has the memory format of its input.

    The library's kernel always returns contiguous memory, after which every following convolution pays a conversion.
    """

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → the same."""
        channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        if channels_last and self.affine and self.training and torch.is_grad_enabled() and x.device.type == "cpu":
            return self._train(x)
        y: Tensor = super().forward(x)
        return y.contiguous(memory_format=torch.channels_last) if channels_last else y

    def _train(self, x: Tensor) -> Tensor:
        result: tuple[Tensor, Tensor, Tensor] = ChannelsLastInstanceNorm.apply(x, self.weight, self.bias, self.eps)
        y, mean, variance = result
        if self.running_mean is not None and self.running_var is not None:
            positions = x.shape[2] * x.shape[3]
            unbiased = variance.mean(dim=0) * (positions / (positions - 1))
            assert self.momentum is not None  # instance norm has no cumulative average
            self.running_mean.lerp_(mean.mean(dim=0).to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return y


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
        first, rest = _split(x, self.first)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)


def norm_first_channels(norm: InstanceNorm2d, x: Tensor) -> Tensor:
    """Apply ``norm`` to as many of the first channels as it has and leave the rest alone: B×C×H×W → the same."""
    first, rest = _split(x, norm.num_features)
    return torch.cat([norm(first), rest], dim=1)


def _split(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` channels and the rest, both in the memory format of ``x``."""
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return x[:, :count].contiguous(memory_format=layout), x[:, count:].contiguous(memory_format=layout)
