"""Configuration of a compact model: its backbone, and what it learns from whom."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field, model_validator

from vireid.core.config import Component
from vireid.core.errors import did_you_mean
from vireid.losses.choices import FeatureLoss
from vireid.models.backbones import LastStride, check_backbone
from vireid.models.teacher_config import TeacherConfig
from vireid.models.trunk_spec import BLOCKS, Depth, IBNKind, TrunkSpec
from vireid.models.trunks import TRUNK, pretrained_file

WEIGHTS: dict[str, float] = {"id": 1.0, "triplet": 1.0}
# Terms that a teacher adds. Relations and logits count as IDKL weighs them between its two branches (Ren & Zhang, CVPR
# 2024); the feature term, which IDKL does not have, counts as an identity term.
DISTILLATION_WEIGHTS: dict[str, float] = {"kd_feature": 1.0, "kd_relation": 0.6, "kd_csa1": 0.8, "kd_csa2": 0.8}


class CompactConfig(Component):
    """Configuration of a compact model."""

    version: ClassVar[str] = "1"

    name: str = "compact"
    backbone: str = "resnet18"
    """``resnet18``, resnet34, resnet50, mobilenet_v3_small, mobilenet_v3_large, timm/NAME."""
    width: float = Field(default=1.0, gt=0, le=4)
    """Scales every channel count of the backbone."""
    last_stride: LastStride = 1
    ibn: IBNKind = "none"
    """Of a ResNet, as in ``vireid.models.resnet``."""
    pool: Literal["gem", "average"] = "gem"
    gem_p: float = Field(default=3.0, gt=0)
    """Of gem; average has none."""
    margin: float = Field(default=0.3, ge=0)
    """Of the triplet, un-normalised Euclidean."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the identity term."""
    weights: dict[str, float] = {}
    """Replaces single weights of the loss terms; 0 switches a term and its parts off."""
    pretrained: Path | None = None
    """ImageNet weights, torchvision's or timm's; or ``trunk``, one of the suite's."""

    teacher: TeacherConfig | None = None
    teacher_features: int | None = Field(default=None, ge=1)
    """Width of its embedding; kd_feature projects to it."""
    feature_loss: FeatureLoss = "cosine"
    relation_temperature: float = Field(default=0.2, gt=0)
    """Of distances between L2-normalised features."""
    logit_temperature: float = Field(default=4.0, gt=0)

    @model_validator(mode="after")
    def _backbone_is_known(self) -> CompactConfig:
        check_backbone(self.backbone, self.width, self.ibn)
        return self

    @model_validator(mode="after")
    def _trunk_is_found(self) -> CompactConfig:
        if self.trunk is not None:
            self.__dict__["pretrained"] = pretrained_file(
                self.pretrained, self.trunk
            )  # before anyone sees the frozen model
        elif self.pretrained == TRUNK:
            raise ValueError(f"pretrained=trunk: the suite's trunks are ResNets, not '{self.backbone}'")
        return self

    @property
    def trunk(self) -> TrunkSpec | None:
        """Shape of a ResNet; None of other backbones."""
        if self.backbone not in BLOCKS:
            return None
        return TrunkSpec(cast(Depth, self.backbone), self.width, self.last_stride, self.ibn)

    @model_validator(mode="after")
    def _weights_are_possible(self) -> CompactConfig:
        valid = self._weights_of_terms()
        for term, weight in self.weights.items():
            if term not in valid:
                needs = " needs model.teacher" if term in DISTILLATION_WEIGHTS else did_you_mean(term, valid)
                raise ValueError(f"unknown loss term '{term}' in weights{needs}")
            if weight < 0:
                raise ValueError(f"the weight of '{term}' is {weight}; weights are not negative")
        if not self.active_weights():
            raise ValueError("every loss weight is 0: nothing would be trained")
        return self

    @model_validator(mode="after")
    def _teacher_teaches(self) -> CompactConfig:
        active = self.active_weights()
        if self.teacher is not None and not active.keys() & DISTILLATION_WEIGHTS.keys():
            raise ValueError(
                f"a teacher with {', '.join(DISTILLATION_WEIGHTS)} at weight 0 does nothing: set teacher=null"
            )
        if "kd_feature" in active and self.teacher_features is None:
            raise ValueError(
                "kd_feature projects to the teacher's embedding: give its width as teacher_features (2048 for a "
                "ResNet-50 of width 1, 512 for a ResNet-18), or set weights.kd_feature=0"
            )
        if "kd_feature" not in active and self.teacher_features is not None:
            raise ValueError("teacher_features serves kd_feature, which is off: leave it out")
        return self

    def _weights_of_terms(self) -> dict[str, float]:
        return WEIGHTS if self.teacher is None else WEIGHTS | DISTILLATION_WEIGHTS

    def active_weights(self) -> dict[str, float]:
        """Weight of every loss term that is on."""
        weights = self._weights_of_terms() | self.weights
        return {term: weight for term, weight in weights.items() if weight > 0}
