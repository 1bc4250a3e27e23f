"""MobileNetV3 (Howard et al., ICCV 2019, arXiv 1905.02244) as torchvision builds it."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import Tensor, nn

from vireid.models.backbones import LastStride
from vireid.models.backbones.weights import load_weights
from vireid.models.resnet import match_memory


class MobileNet(nn.Module):
    """The features of MobileNetV3-small or -large, up to and with the 1×1 convolution that widens the last map.

    Args:
        name: ``mobilenet_v3_small`` or ``mobilenet_v3_large``.
        width: factor on every channel count, rounded to multiples of 8 as published.
        last_stride: 1 takes the stride out of the last convolution that has one; its weights stay what they are.
    """

    def __init__(self, name: str, width: float, last_stride: LastStride) -> None:
        super().__init__()
        whole = getattr(torchvision.models, name)(weights=None, width_mult=width)
        self.layers: nn.Sequential = whole.features
        convolutions = [part for part in self.layers.modules() if isinstance(part, nn.Conv2d)]
        self.features = convolutions[-1].out_channels
        if last_stride == 1:
            [part for part in convolutions if part.stride == (2, 2)][-1].stride = (1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×h×w."""
        result: Tensor = self.layers(match_memory(self.layers, images))
        return result

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last convolution and its norm."""
        return list(self.layers[-1].parameters())

    def load(self, path: Path) -> None:
        """Load torchvision's weights, which fit width 1."""
        load_weights(path, self.layers, prefix="features.", dropped=("classifier.",))
