"""Configuration of the AGW network, which TSKD builds on too, and of AGW."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.models.base import TrunkConfig
from vireid.models.trunk import BLOCKS


class AGWNetworkConfig(TrunkConfig):
    """Configuration of the network. Defaults are AGW's released code."""

    identity_head: ClassVar[str | None] = "classifier"

    nonlocal_blocks: tuple[int, int, int, int] = (0, 2, 3, 0)
    """How many blocks of layers 1, 2, 3, 4, counted from the last, a non-local block follows."""
    nonlocal_width: int | None = Field(default=1, ge=1)
    """Inner channels of the non-local blocks.

    The released code has 1 (only so it counts 23.55 M parameters); null is half of the layer's, as in the non-local
    paper.
    """
    gem_p: float = Field(default=3.0, gt=0)
    trunk_lr_scale: float = Field(default=0.1, gt=0)
    """Of stems, layers and non-local blocks; for ImageNet weights."""

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Self:
        for layer, (wanted, there) in enumerate(zip(self.nonlocal_blocks, BLOCKS[self.backbone], strict=True), start=1):
            if not 0 <= wanted <= there:
                raise ValueError(
                    f"nonlocal_blocks wants {wanted} in layer {layer} of {self.backbone}, which has {there} blocks: "
                    f"give 0 to {there}"
                )
        return self


class AGWConfig(AGWNetworkConfig):
    """Configuration of AGW."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0}

    name: str = "agw"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    triplet: Literal["paper", "released"] = "paper"
    """``paper``: softmax weights over an anchor's positives and over its negatives; ``released``: the anchor is one of
    its own positives, and 1e-6 in the softmax's denominators lets far negatives drop out."""
