"""Configuration that every model on a ResNet trunk has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vireid.models.base import ModelConfig
from vireid.models.trunk import Depth, TrunkSpec, pretrained_file


class TrunkConfig(ModelConfig):
    """A ResNet trunk and the method's loss terms."""

    backbone: Depth = "resnet50"
    width: float = Field(default=1.0, gt=0, le=4)
    """Scales every channel count of the trunk."""
    last_stride: Literal[1, 2] = 1
    pretrained: Path | None = None
    """ImageNet weights of the trunk, torchvision's; or ``trunk``, one of the suite's."""

    @model_validator(mode="after")
    def _trunk_is_possible(self) -> TrunkConfig:
        channels = 64 * self.width
        if channels != int(channels) or int(channels) % 8:
            raise ValueError(f"width {self.width} gives {channels:g} channels in the stem; 64·width must divide by 8")
        # Set past the freeze, before anyone sees the model.
        self.__dict__["pretrained"] = pretrained_file(self.pretrained, self.trunk)
        return self

    @property
    def trunk(self) -> TrunkSpec:
        """Shape of the trunk."""
        return TrunkSpec(self.backbone, self.width, self.last_stride, "none")
