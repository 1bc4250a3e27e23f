"""Configuration of a compact model: its backbone, and what it learns from whom."""

from pathlib import Path
from typing import ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from vireid.core.errors import did_you_mean
from vireid.losses.choices import FeatureLoss
from vireid.models.base import ModelConfig, SharedWeights, TeacherConfig
from vireid.models.trunk import BLOCKS, TRUNK, Depth, IBNKind, TrunkSpec, pretrained_file

MOBILENETS = ("mobilenet_v3_small", "mobilenet_v3_large")
TIMM = "timm/"
LastStride = Literal[1, 2]
# Terms that a teacher adds. Relations and logits count as IDKL weighs them between its two branches (Ren & Zhang, CVPR
# 2024); the feature term, which IDKL does not have, counts as an identity term.
DISTILLATION_WEIGHTS: dict[str, float] = {"kd_feature": 1.0, "kd_relation": 0.6, "kd_csa1": 0.8, "kd_csa2": 0.8}


class CompactConfig(ModelConfig):
    """Configuration of a compact model."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0}
    shared_weights: ClassVar[SharedWeights] = {
        "stem": ("embedder.backbone.stem",),
        "branch": ("embedder.backbone.branch",),
        "neck": ("embedder.neck",),
        "identity": ("heads.id",),
    }
    identity_head: ClassVar[str | None] = "heads.id"

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
    def _backbone_is_known(self) -> Self:
        name, width = self.backbone, self.width
        if self.ibn != "none" and name not in BLOCKS:
            raise ValueError(f"ibn={self.ibn} is of ResNets ({', '.join(BLOCKS)}), not of '{name}': set ibn=none")
        if name in BLOCKS:
            channels = 64 * width
            if channels != int(channels) or int(channels) % 8:
                raise ValueError(f"width {width} gives {channels:g} channels in the stem; 64·width must divide by 8")
        elif name.startswith(TIMM):
            if width != 1:
                raise ValueError(f"width {width}: a network of timm has its own width; set width=1")
        elif name not in MOBILENETS:
            hint = did_you_mean(name, [*BLOCKS, *MOBILENETS])
            raise ValueError(f"unknown backbone '{name}'{hint} (or give one of timm's as timm/NAME)")
        return self

    @model_validator(mode="after")
    def _trunk_file_exists(self) -> Self:
        if self.trunk is not None:
            # Set past the freeze, before anyone sees the model.
            self.__dict__["pretrained"] = pretrained_file(self.pretrained, self.trunk)
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
    def _teacher_teaches(self) -> Self:
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

    def possible_weights(self) -> dict[str, float]:
        """The baseline's terms, and those that a teacher adds."""
        return self.term_weights if self.teacher is None else self.term_weights | DISTILLATION_WEIGHTS

    def hint(self, term: str) -> str:
        """That a term needs a teacher, else the nearest term."""
        return " needs model.teacher" if term in DISTILLATION_WEIGHTS else super().hint(term)
