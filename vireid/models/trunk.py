"""A ResNet trunk without the network: its shape, and the trunks that come with the suite. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vireid.core.shipped import shipped

Depth = Literal["resnet18", "resnet34", "resnet50"]
IBNKind = Literal["none", "a", "b", "fork"]

BLOCKS: dict[str, tuple[int, int, int, int]] = {
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


# Methods of the field begin with ImageNet weights, which may not be at hand and have no quarter-width form. The suite's
# own trunks stand in for them: trained on visible images of rendered people whom no study sees (ablations/trunks.yaml).
TRUNK = Path("trunk")  # what `pretrained` says instead of a path
TRUNKS = shipped("results/trunks")


def trunk_file(spec: TrunkSpec, folder: Path = TRUNKS) -> Path:
    """Where the weights of a trunk lie or are to lie. The last stride is no part of them."""
    return folder / f"{spec.depth}-width_{spec.width:g}-ibn_{spec.ibn}.safetensors"


def pretrained_file(pretrained: Path | None, spec: TrunkSpec) -> Path | None:
    """What a model's ``pretrained`` names: a path as it stands, or the trunk that fits the model.

    Raises:
        ValueError: there is no such trunk; the message says how to make it.
    """
    if pretrained != TRUNK:
        return pretrained
    file = trunk_file(spec)
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in TRUNKS.glob("*.safetensors"))) or "none"
        raise ValueError(
            f"there is no trunk {file} (there: {there}): make it with `vireid train data=trunk_people "
            f"model=trunk_small recipe=trunk augmentation=full augmentation.pad=3 model.backbone={spec.depth} "
            f"model.width={spec.width:g} "
            f"model.ibn={spec.ibn}`, then `vireid trunk RUN`"
        )
    return file
