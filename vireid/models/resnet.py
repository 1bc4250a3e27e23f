"""ResNet trunk (He et al., CVPR 2016) in two parts, so that its later layers can exist more than once.

Parameter names are torchvision's (with IBN those of the official IBN-Net), without the classifier: at width 1 published
ImageNet weights fit. The stride of a bottleneck is on its 3×3 convolution, as in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vireid.models.norm import IBN, InstanceNorm2d

Depth = Literal["resnet18", "resnet34", "resnet50"]
IBNKind = Literal["none", "a", "b"]

_BLOCKS: dict[str, tuple[int, int, int, int]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}


@dataclass(frozen=True, slots=True)
class TrunkSpec:
    """Shape of a ResNet. ``width`` scales every channel count; ``last_stride`` is the stride of layer 4."""

    depth: Depth
    width: float
    last_stride: int
    ibn: IBNKind

    @property
    def expansion(self) -> int:
        """Output channels of a block per inner channel."""
        return 4 if self.depth == "resnet50" else 1

    def planes(self, layer: int) -> int:
        """Inner channels of the blocks of a layer (1…4)."""
        return round(64 * self.width) << (layer - 1)

    @property
    def features(self) -> int:
        """Channels of the final map: the feature width D."""
        return self.planes(4) * self.expansion


class _Block(nn.Module):
    """What both residual blocks share: shortcut, and IBN-b's instance norm after the addition."""

    expansion: int
    downsample: nn.Sequential | None

    def __init__(self, inputs: int, planes: int, stride: int, instance_norm: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        outputs = planes * self.expansion
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        else:
            self.downsample = None
        self.IN = InstanceNorm2d(outputs, affine=True) if instance_norm else None

    def residual(self, x: Tensor) -> Tensor:
        """The branch that is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×H×W → B×(planes·expansion)×H/stride×W/stride."""
        y = self.residual(x) + (x if self.downsample is None else self.downsample(x))
        result: Tensor = self.relu(y if self.IN is None else self.IN(y))
        return result


class BasicBlock(_Block):
    """Two 3×3 convolutions (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, ibn: bool, instance_norm: bool) -> None:
        super().__init__(inputs, planes, stride, instance_norm)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = IBN(planes) if ibn else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def residual(self, x: Tensor) -> Tensor:
        """conv-bn-relu-conv-bn."""
        y: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return y


class Bottleneck(_Block):
    """1×1, 3×3 (with the stride), 1×1 convolutions (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, ibn: bool, instance_norm: bool) -> None:
        super().__init__(inputs, planes, stride, instance_norm)
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = IBN(planes) if ibn else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)

    def residual(self, x: Tensor) -> Tensor:
        """conv-bn-relu three times, without the last relu."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        result: Tensor = self.bn3(self.conv3(y))
        return result


def _layer(spec: TrunkSpec, layer: int) -> nn.Sequential:
    """Layer 1…4. IBN-a replaces bn1 in every block of layers 1–3, IBN-b ends layers 1 and 2 with instance norm."""
    block = Bottleneck if spec.depth == "resnet50" else BasicBlock
    count, planes = _BLOCKS[spec.depth][layer - 1], spec.planes(layer)
    inputs = spec.planes(1) if layer == 1 else spec.planes(layer - 1) * spec.expansion
    stride = (1, 2, 2, spec.last_stride)[layer - 1]
    return nn.Sequential(
        *(
            block(
                inputs if index == 0 else planes * spec.expansion,
                planes,
                stride if index == 0 else 1,
                ibn=spec.ibn == "a" and layer <= 3,
                instance_norm=spec.ibn == "b" and layer <= 2 and index == count - 1,
            )
            for index in range(count)
        )
    )


class Stem(nn.Module):
    """First part: conv1, bn1, ReLU, max-pooling, layer 1, layer 2 (stride 8)."""

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        channels = spec.planes(1)
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = InstanceNorm2d(channels, affine=True) if spec.ibn == "b" else nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(spec, 1)
        self.layer2 = _layer(spec, 2)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×C₂×H/8×W/8."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        y: Tensor = self.layer2(self.layer1(x))
        return y


class Branch(nn.Module):
    """Second part: layer 3 and layer 4 (stride 2 × ``last_stride``)."""

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.layer3 = _layer(spec, 3)
        self.layer4 = _layer(spec, 4)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """B×C₂×h×w → B×D×h'×w'."""
        y: Tensor = self.layer4(self.layer3(x))
        return y


def _initialise(module: nn.Module) -> None:
    """He initialisation of the convolutions (fan out), as torchvision's; norms start at identity by construction."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def match_memory(module: nn.Module, images: Tensor) -> Tensor:
    """Bring images to the memory format of the module's convolutions, so that the whole trunk stays in it."""
    weight = next(part.weight for part in module.modules() if isinstance(part, nn.Conv2d))
    if weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        return images.contiguous(memory_format=torch.channels_last)
    return images
