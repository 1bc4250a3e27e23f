"""Parts after the trunk: global poolings, BNNeck, classifier, and IDKL's modality discriminator.

Poolings map B×D×h×w to B×D, in float32 at least.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vireid.models.idkl_config import ClassifierInit
from vireid.models.resnet import at_least_single, row_chunks

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


class AveragePool(nn.Module):
    """Mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w → B×D."""
        return at_least_single(x).mean(dim=(2, 3))


class OffsetGeM(nn.Module):
    """Generalised mean as AGW's code computes it: (mean of x^p + 1e-12)^(1/p), without a floor on x ≥ 0.

    A channel that is 0 everywhere gives 1e-4 for p = 3, where a floor of 1e-6 on x would give 1e-6.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w (not negative) → B×D."""
        return (at_least_single(x).pow(self.p).mean(dim=(2, 3)) + 1e-12).pow(1.0 / self.p)


class GeM(nn.Module):
    """Generalised-mean pooling (Radenović et al., TPAMI 2019): (mean of max(x, 1e-6)^p)^(1/p) over positions.

    Computed in float32 at least: the cube of a half-precision activation overflows.

    Args:
        p: exponent; 1 is average pooling.
        learnable: train ``p`` with the rest.
    """

    def __init__(self, p: float = 3.0, learnable: bool = False) -> None:
        super().__init__()
        self.exponent = p
        self.p = nn.Parameter(torch.tensor(p)) if learnable else None

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w → B×D."""
        if self.p is not None:
            x = (x if x.dtype == torch.float64 else x.float()).clamp(min=FLOOR)
            return x.pow(self.p).mean(dim=(2, 3)).pow(1.0 / self.p)
        if self.training and torch.is_grad_enabled():
            result: Tensor = PowerMean.apply(x, self.exponent)
            return result
        return power_mean(x, self.exponent)  # plain operators, which can be exported and counted


def bn_neck(features: int) -> nn.BatchNorm1d:
    """BNNeck (Luo et al., CVPRW 2019): batch norm whose bias stays at 0."""
    neck = nn.BatchNorm1d(features)
    neck.bias.requires_grad_(False)
    return neck


def classifier(features: int, classes: int, init: ClassifierInit = "normal") -> nn.Linear:
    """Linear classifier without bias; weights from N(0, 0.001²) as in the field, or PyTorch's ±1/√features."""
    layer = nn.Linear(features, classes, bias=False)
    if init == "normal":
        nn.init.normal_(layer.weight, std=0.001)
    return layer


class Discriminator(nn.Sequential):
    """Modality discriminator of IDKL: D-100-100-2 with batch norm, ReLU and dropout 0.5."""

    def __init__(self, features: int, hidden: int = 100) -> None:
        super().__init__(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, 2),
        )
