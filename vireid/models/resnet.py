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

Instance normalisation keeps channels-last memory.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vireid.models.trunk import BLOCKS, IBNKind, TrunkSpec

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
