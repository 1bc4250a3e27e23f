"""Instance normalisation that keeps channels-last memory, and IBN (Pan et al., ECCV 2018) built on it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ELEMENTS = 1 << 19


def row_chunks(x: Tensor) -> Iterator[slice]:
    """Slices over the first dimension of ``x``; on an accelerator a single one."""
    size = max(1, _ELEMENTS // max(1, x.shape[1:].numel())) if x.device.type == "cpu" else max(1, len(x))
    for start in range(0, len(x), size):
        yield slice(start, start + size)


def at_least_single(x: Tensor) -> Tensor:
    """In float32, or float64 where that is given."""
    return x if x.dtype == torch.float64 else x.float()


_SPACE = (2, 3)


class ChannelsLastInstanceNorm(torch.autograd.Function):
    """y = w·(x − mean)/√(var + ε) + b, with mean and (biased) variance over the positions of each channel and image.

    The library's kernel works on contiguous memory: four conversions of the map, forward and backward. Here every image
    is normalised where it lies, in float32 at least. Returns y in the type of x, and mean and variance (B×C).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """B×C×H×W, C, C → B×C×H×W, B×C, B×C."""
        y = torch.empty_like(x)
        means, variances = [], []
        for rows in row_chunks(x):
            part = at_least_single(x[rows])
            mean = part.mean(dim=_SPACE, keepdim=True)
            centred = part - mean
            variance = centred.square().mean(dim=_SPACE, keepdim=True)
            scale = weight[:, None, None] * (variance + eps).rsqrt()
            y[rows] = torch.addcmul(bias[:, None, None].to(part.dtype), centred, scale)
            means.append(mean.flatten(1))
            variances.append(variance.flatten(1))
        mean, variance = torch.cat(means), torch.cat(variances)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of x (in its type and layout), weight and bias."""
        x, weight, mean, inverse = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        grads, products = [], []
        for rows in row_chunks(x):
            above = at_least_single(grad[rows])
            centred = at_least_single(x[rows]) - mean[rows, :, None, None]
            deviation = inverse[rows, :, None, None]
            grad_mean = above.mean(dim=_SPACE, keepdim=True)
            product_mean = (above * centred).mean(dim=_SPACE, keepdim=True)
            inner = (above - grad_mean).addcmul_(centred, -product_mean * deviation.square())
            grad_x[rows] = inner.mul_(weight[:, None, None] * deviation)
            grads.append(grad_mean.flatten(1))
            products.append((product_mean * deviation).flatten(1))
        positions = x.shape[2] * x.shape[3]
        grad_weight = torch.cat(products).sum(dim=0) * positions
        grad_bias = torch.cat(grads).sum(dim=0) * positions
        return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None


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
