"""Instance normalisation of channels-last maps in training, without leaving that layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vireid.models.row_chunks import at_least_single, row_chunks

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
