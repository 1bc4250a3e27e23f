"""Networks from images to a final map, by name: the suite's ResNets, torchvision's MobileNetV3, and those of timm.

timm (Wightman, github.com/huggingface/pytorch-image-models) comes with the extra ``backbones``.
"""

from pathlib import Path
from typing import Any, Protocol, cast

import torch
import torchvision
from torch import Tensor, nn

from vireid.core.errors import UserError, did_you_mean, optional_module
from vireid.models.compact_config import MOBILENETS, TIMM, LastStride
from vireid.models.pretrained import COUNTER, SOURCE, faulty_keys, load_trunk, read_state
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import Depth, IBNKind, TrunkSpec

_PROBE = (64, 32)  # pixels


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
        return MobileNet(name, width, last_stride)
    if name.startswith(TIMM):
        return TimmNetwork(name.removeprefix(TIMM), last_stride)
    return ResNet(name, width, last_stride, ibn)


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
        for key, value in read_state(path, SOURCE).items()
        if not key.startswith(dropped or ("\n",))
    }
    expected = module.state_dict()
    faults = {
        "missing": [key for key in expected if key not in state and not key.endswith(COUNTER)],
        "unknown": [key for key in state if key not in expected],
        "of another shape": [key for key in state if key in expected and state[key].shape != expected[key].shape],
    }
    if problems := faulty_keys(faults):
        raise UserError(
            f"{SOURCE} {path}: keys {' and '.join(problems)}; 'backbone' must be the file's, and published "
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


class TimmNetwork(nn.Module):
    """A network of timm up to its final map.

    Args:
        name: as ``timm.list_models()`` has it.
        last_stride: 1 asks timm for a map of H/16 rows, which it gives by dilation and not for every network.

    Raises:
        UserError: timm is not installed, the name is unknown, or the network gives no such map.
    """

    def __init__(self, name: str, last_stride: LastStride) -> None:
        super().__init__()
        timm = optional_module("timm", "backbones", "use a ResNet or MobileNetV3")
        if not timm.is_model(name):
            hint = did_you_mean(name, timm.list_models())
            hint = hint if "did you mean" in hint else "; timm.list_models() names them"
            raise UserError(f"backbone timm/{name}: timm {timm.__version__} has no such model{hint}")
        stride: dict[str, int] = {} if last_stride == 2 else {"output_stride": 16}
        try:
            self.network: nn.Module = timm.create_model(name, num_classes=0, global_pool="", **stride)
            self.features, self._after_the_map = self._only_the_map()
        except (TypeError, ValueError, AssertionError, NotImplementedError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"backbone timm/{name} gives no final map of any image size at last_stride={last_stride} ({reason}); "
                "use a convolutional network, or last_stride=2"
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×h×w."""
        result: Tensor = cast(Any, self.network).forward_features(match_memory(self.network, images))
        return result

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last part of the network that has any."""
        parameters = [list(part.parameters()) for part in self.network.children()]
        return next(of_part for of_part in reversed(parameters) if of_part)

    def load(self, path: Path) -> None:
        """Load timm's weights for this network, without its classifier and what else comes after the map."""
        classifier = cast(Any, self.network).pretrained_cfg.get("classifier") or ()
        names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_weights(path, self.network, dropped=tuple(f"{name}." for name in (*names, *self._after_the_map)))

    def _only_the_map(self) -> tuple[int, list[str]]:
        """Channels of the map, and the names of the parts that come after it, which are taken away.

        Seen on an empty image, in evaluation mode; draws no random number.
        """
        network = cast(Any, self.network)
        network.eval()
        result = network.forward_features(torch.zeros(1, 3, *_PROBE))
        if not isinstance(result, Tensor) or result.dim() != 4:
            raise ValueError("its features are no map of channels, rows and columns")
        result.sum().backward()  # type: ignore[no-untyped-call]
        after = [
            name
            for name, part in network.named_children()
            if (weights := list(part.parameters())) and all(weight.grad is None for weight in weights)
        ]
        for name in after:
            setattr(network, name, nn.Identity())
        network.zero_grad(set_to_none=True)
        network.train()
        return int(result.shape[1]), after
