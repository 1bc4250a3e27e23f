"""Configuration of IV-REID."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from vireid.losses.choices import Reduction
from vireid.models.base import TrunkConfig

_KL = ("kl_visible", "kl_infrared")


class IVREIDConfig(TrunkConfig):
    """Configuration of IV-REID. Defaults are the released script for SYSU-MM01."""

    term_weights: ClassVar[dict[str, float]] = dict.fromkeys(
        ("id", "id_visible", "id_infrared", "kl_visible", "kl_infrared", "triplet"), 1.0
    )

    identity_head: ClassVar[str | None] = "heads.id"

    name: str = "iv_reid"
    margin: float = Field(default=0.3, ge=0)
    """Of the triplet, un-normalised Euclidean; released for RegDB: 0.2."""
    kl: Reduction = "batchmean"
    """Mean (over rows and classes) in the released script for RegDB."""
    head_width: int = Field(default=512, ge=1)
    """Of the auxiliary branches."""
    head_lr_scale: float = Field(default=10.0, gt=0)
    """Of the auxiliary head."""
    conv_bias: bool = True
    """The released ResNet has a bias in every convolution, each before a batch norm, which removes it in training."""

    @model_validator(mode="after")
    def _branches_are_trained(self) -> Self:
        active = self.active_weights()
        compared = [term for term in _KL if term in active]
        if compared and not {"id_visible", "id_infrared"} <= active.keys():
            raise ValueError(
                f"loss term {' and '.join(compared)}: compares the auxiliary branches, which id_visible and "
                "id_infrared train; give them a weight, or set kl_visible and kl_infrared to 0"
            )
        return self
