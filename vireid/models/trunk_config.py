"""What the baselines' configurations share: the trunk, pretrained weights, and weights of the loss terms."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vireid.core.config import Component
from vireid.core.errors import did_you_mean
from vireid.models.trunk_spec import Depth, TrunkSpec
from vireid.models.trunks import pretrained_file


class TrunkConfig(Component):
    """A ResNet trunk and the method's loss terms."""

    term_weights: ClassVar[dict[str, float]]  # every loss term with the method's own weight

    backbone: Depth = "resnet50"
    width: float = Field(default=1.0, gt=0, le=4)
    """Scales every channel count of the trunk."""
    last_stride: Literal[1, 2] = 1
    weights: dict[str, float] = {}
    """Replaces single weights of the loss terms; 0 switches a term and its parts off."""
    pretrained: Path | None = None
    """ImageNet weights of the trunk, torchvision's; or ``trunk``, one of the suite's."""

    @model_validator(mode="after")
    def _trunk_and_weights_are_possible(self) -> TrunkConfig:
        channels = 64 * self.width
        if channels != int(channels) or int(channels) % 8:
            raise ValueError(f"width {self.width} gives {channels:g} channels in the stem; 64·width must divide by 8")
        for term, weight in self.weights.items():
            if term not in self.term_weights:
                raise ValueError(f"unknown loss term '{term}' in weights{did_you_mean(term, self.term_weights)}")
            if weight < 0:
                raise ValueError(f"the weight of '{term}' is {weight}; weights are not negative")
        if not self.active_weights():
            raise ValueError("every loss weight is 0: nothing would be trained")
        return self

    @model_validator(mode="after")
    def _trunk_is_found(self) -> TrunkConfig:
        self.__dict__["pretrained"] = pretrained_file(
            self.pretrained, self.trunk
        )  # before anyone sees the frozen model
        return self

    @property
    def trunk(self) -> TrunkSpec:
        """Shape of the trunk."""
        return TrunkSpec(self.backbone, self.width, self.last_stride, "none")

    def active_weights(self) -> dict[str, float]:
        """Weight of every loss term that is on, in the order of the method's description."""
        return {term: weight for term, weight in (self.term_weights | self.weights).items() if weight > 0}
