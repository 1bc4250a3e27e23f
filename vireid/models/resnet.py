"""ResNet trunk (He et al., CVPR 2016) in two parts, so that its later layers can exist more than once.

Parameter names are torchvision's (with IBN those of the official IBN-Net), without the classifier: at width 1 published
ImageNet weights fit. The stride of a bottleneck is on its 3×3 convolution, as in both.

IBN (Pan et al., ECCV 2018) by kind:

- ``a``: bn1 of every block of layers 1–3 becomes instance norm on the first half of its channels, batch norm on the
  rest.
- ``b``: bn1 of the stem becomes instance norm; the last block of layers 1 and 2 has one after the addition.
- ``fork`` (code quocnhut134/IDKL): bn1 stays on all channels and is *followed* by an affine instance norm on the first
  half, in every block of stride 1 of all four layers (the first of layer 4 too where ``last_stride`` is 1). Parameter
  names (``IN`` beside ``bn1``) are that code's, whose checkpoints therefore fit; published ImageNet weights do not.
  That code has bottlenecks only; the same rule serves the blocks of ResNet-18 and -34.
"""

import torch
from torch import Tensor, nn

from vireid.models.norm import IBN, InstanceNorm2d, norm_first_channels
from vireid.models.trunk import BLOCKS, IBNKind, TrunkSpec


class _Block(nn.Module):
    """What both residual blocks share: shortcut, bn1, and the instance norm of IBN-b or of the fork.

    Args:
        inputs: channels that come in.
        planes: inner channels.
        stride: of the block.
        ibn: kind of IBN in this block, ``none`` where its layer or position has none.
    """

    recomputable = True  # may run again in backward instead of keeping its activations
    expansion: int
    downsample: nn.Sequential | None
    bn1: nn.Module

    def __init__(self, inputs: int, planes: int, stride: int, ibn: IBNKind) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        outputs = planes * self.expansion
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        else:
            self.downsample = None
        self.ibn = ibn
        normed = {"b": outputs, "fork": planes // 2}.get(ibn)
        self.IN = None if normed is None else InstanceNorm2d(normed, affine=True)

    def norm1(self, x: Tensor) -> Tensor:
        """bn1, in the fork with its instance norm."""
        y: Tensor = self.bn1(x)
        return norm_first_channels(self.IN, y) if self.IN is not None and self.ibn == "fork" else y

    def residual(self, x: Tensor) -> Tensor:
        """The branch that is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×H×W → B×(planes·expansion)×H/stride×W/stride."""
        y = self.residual(x) + (x if self.downsample is None else self.downsample(x))
        result: Tensor = self.relu(self.IN(y) if self.IN is not None and self.ibn == "b" else y)
        return result


class BasicBlock(_Block):
    """Two 3×3 convolutions (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, ibn: IBNKind) -> None:
        super().__init__(inputs, planes, stride, ibn)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = IBN(planes) if ibn == "a" else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def residual(self, x: Tensor) -> Tensor:
        """conv-bn-relu-conv-bn."""
        y: Tensor = self.bn2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return y


class Bottleneck(_Block):
    """1×1, 3×3 (with the stride), 1×1 convolutions (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, ibn: IBNKind) -> None:
        super().__init__(inputs, planes, stride, ibn)
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = IBN(planes) if ibn == "a" else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)

    def residual(self, x: Tensor) -> Tensor:
        """conv-bn-relu three times, without the last relu."""
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        result: Tensor = self.bn3(self.conv3(y))
        return result


def residual_layer(spec: TrunkSpec, layer: int) -> nn.Sequential:
    """Layer 1…4 as its sequence of blocks, not yet initialised."""
    block = Bottleneck if spec.depth == "resnet50" else BasicBlock
    count, planes = BLOCKS[spec.depth][layer - 1], spec.planes(layer)
    inputs = spec.planes(1) if layer == 1 else spec.planes(layer - 1) * spec.expansion
    strides = [(1, 2, 2, spec.last_stride)[layer - 1]] + [1] * (count - 1)
    has_ibn = {
        "none": [False] * count,
        "a": [layer <= 3] * count,
        "b": [layer <= 2 and index == count - 1 for index in range(count)],
        "fork": [stride == 1 for stride in strides],
    }[spec.ibn]
    return nn.Sequential(
        *(
            block(
                inputs if index == 0 else planes * spec.expansion,
                planes,
                strides[index],
                spec.ibn if has_ibn[index] else "none",
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
        self.relu: nn.Module = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = residual_layer(spec, 1)
        self.layer2 = residual_layer(spec, 2)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×C₂×H/8×W/8."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        y: Tensor = self.layer2(self.layer1(x))
        return y


class Branch(nn.Module):
    """Second part: layer 3 and layer 4 (stride 2 × ``last_stride``)."""

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.layer3 = residual_layer(spec, 3)
        self.layer4 = residual_layer(spec, 4)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """B×C₂×h×w → B×D×h'×w'."""
        y: Tensor = self.layer4(self.layer3(x))
        return y


def initialise(module: nn.Module) -> None:
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
