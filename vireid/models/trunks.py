"""Trunks that come with the suite, ``model.pretrained=trunk``: ResNets that know people, but no infrared.

Methods of the field begin with ImageNet weights, which may not be at hand and have no quarter-width form. These are the
stand-in for rendered people: trained on visible images of people whom no study sees (``ablations/trunks.yaml``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vireid.core.shipped import shipped

if TYPE_CHECKING:
    from vireid.models.trunk_spec import TrunkSpec

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
            f"model=trunk_small recipe=trunk augmentation.pad=3 model.backbone={spec.depth} model.width={spec.width:g} "
            f"model.ibn={spec.ibn}`, then `vireid trunk RUN`"
        )
    return file
