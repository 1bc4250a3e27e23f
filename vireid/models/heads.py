"""Parts after the trunk: GeM pooling, BNNeck, classifier, and IDKL's modality discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vireid.models.idkl_config import ClassifierInit
from vireid.models.power_mean import FLOOR, PowerMean, power_mean


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
