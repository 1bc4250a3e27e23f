"""Networks from images to a final map, by name: the suite's ResNets, torchvision's MobileNetV3, others through timm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from vireid.core.errors import did_you_mean
from vireid.models.trunk import BLOCKS, IBNKind

if TYPE_CHECKING:  # a configuration asks for names alone
    from torch import Tensor, nn

MOBILENETS = ("mobilenet_v3_small", "mobilenet_v3_large")
TIMM = "timm/"
LastStride = Literal[1, 2]


class Backbone(Protocol):
    """An ``nn.Module`` from images (B×3×H×W) to a map (B×``features``×h×w), channels-last where the images are."""

    features: int  # channels of the map

    def __call__(self, images: Tensor) -> Tensor:
        """Run the network."""
        ...

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last block."""
        ...

    def load(self, path: Path) -> None:
        """Load published ImageNet weights strictly; the file's classifier is dropped."""
        ...


def check_backbone(name: str, width: float, ibn: IBNKind = "none") -> None:
    """Check what can be told without building the network.

    Raises:
        ValueError: unknown name, or a width or norms that it does not have.
    """
    if ibn != "none" and name not in BLOCKS:
        raise ValueError(f"ibn={ibn} is of ResNets ({', '.join(BLOCKS)}), not of '{name}': set ibn=none")
    if name in BLOCKS:
        channels = 64 * width
        if channels != int(channels) or int(channels) % 8:
            raise ValueError(f"width {width} gives {channels:g} channels in the stem; 64·width must divide by 8")
    elif name.startswith(TIMM):
        if width != 1:
            raise ValueError(f"width {width}: a network of timm has its own width; set width=1")
    elif name not in MOBILENETS:
        hint = did_you_mean(name, [*BLOCKS, *MOBILENETS])
        raise ValueError(f"unknown backbone '{name}'{hint} (or give one of timm's as timm/NAME)")


def build_backbone(name: str, width: float, last_stride: LastStride, ibn: IBNKind = "none") -> Backbone:
    """Build a network with random weights.

    Args:
        name: ``resnet18`` …, ``mobilenet_v3_small`` …, or ``timm/NAME``.
        width: factor on every channel count.
        ibn: norms of a ResNet.
        last_stride: 2 as published (the map has H/32 rows), or 1 in the last step (H/16), as is usual for people.

    Raises:
        UserError: a network of timm, and timm is not installed, does not know it, or cannot give such a map.
    """
    if name in MOBILENETS:
        from vireid.models.backbones.networks import MobileNet

        return cast(Backbone, MobileNet(name, width, last_stride))
    if name.startswith(TIMM):
        from vireid.models.backbones.timm_network import TimmNetwork

        return cast(Backbone, TimmNetwork(name.removeprefix(TIMM), last_stride))
    from vireid.models.backbones.networks import ResNet

    return cast(Backbone, ResNet(name, width, last_stride, ibn))
