"""The suite's ResNet and torchvision's MobileNetV3 as backbones, and strict loading of published weights."""

from pathlib import Path
from typing import cast

import torchvision
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models.backbones import LastStride
from vireid.models.importers.state_file import COUNTER, read_state
from vireid.models.pretrained import load_trunk
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import Depth, IBNKind, TrunkSpec

_PLACE = "pretrained weights"
_NAMED = 3  # keys of one kind that a message names


def load_weights(path: Path, module: nn.Module, *, prefix: str = "", dropped: tuple[str, ...] = ()) -> None:
    """Load a state dict in which the module's keys begin with ``prefix``.

    Args:
        path: ``.safetensors``, or saved by torch.
        module: gets the weights.
        prefix: of its keys in the file.
        dropped: beginnings of the file's keys that belong to its classifier.

    Raises:
        UserError: unreadable file; keys missing, unknown or of another shape.
    """
    state = {
        key.removeprefix(prefix): value
        for key, value in read_state(path, _PLACE).items()
        if not key.startswith(dropped or ("\n",))
    }
    expected = module.state_dict()
    faults = {
        "missing": [key for key in expected if key not in state and not key.endswith(COUNTER)],
        "unknown": [key for key in state if key not in expected],
        "of another shape": [key for key in state if key in expected and state[key].shape != expected[key].shape],
    }
    problems = [
        f"{len(keys)} {kind} ({', '.join(keys[:_NAMED])}{', …' if len(keys) > _NAMED else ''})"
        for kind, keys in faults.items()
        if keys
    ]
    if problems:
        raise UserError(
            f"{_PLACE} {path}: keys {' and '.join(problems)}; 'backbone' must be the file's, and published "
            "weights fit width 1 only"
        )
    module.load_state_dict({key: state.get(key, expected[key]) for key in expected})


class ResNet(nn.Module):
    """ResNet-18, -34 or -50 (He et al., CVPR 2016), without its classifier."""

    def __init__(self, name: str, width: float, last_stride: LastStride, ibn: IBNKind) -> None:
        super().__init__()
        spec = TrunkSpec(cast(Depth, name), width, last_stride, ibn)
        self.features, self.ibn = spec.features, ibn
        self.stem = Stem(spec)
        self.branch = Branch(spec)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×h×w."""
        result: Tensor = self.branch(self.stem(match_memory(self.stem, images)))
        return result

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of layer 4."""
        return list(self.branch.layer4[-1].parameters())

    def load(self, path: Path) -> None:
        """Load torchvision's weights, which fit width 1."""
        load_trunk(path, self.stem, [self.branch], ibn=self.ibn)


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
