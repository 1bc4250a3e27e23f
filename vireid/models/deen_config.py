"""Configuration of DEEN."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.models.base import TrunkConfig


class DEENConfig(TrunkConfig):
    """Configuration of DEEN. Weights and margins are the released code's, the paper's too where it states them."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0, "cpm": 0.8, "orthogonality": 0.01}

    embedding_maps: ClassVar[tuple[str, ...]] = ("pooled",) * 3 + ("neck",) * 3
    """The embedding is so many unit features side by side: before and after the neck, of the image and of its two
    expansions. Its cosine is the mean of the six similarities."""

    name: str = "deen"
    layers: Literal[3, 4] = 4
    """Of the ResNet: 4 as released for SYSU-MM01 and LLCM, 3 as released for RegDB. Expansion comes before the last of
    them, and every layer before it ends in an aggregation."""
    position_step: Literal["paper", "released"] = "paper"
    """``paper``: affinities between positions. ``released``: the code lays its inner channels, half the lower map's,
    out as if they were as many as the lower map's, so that one half of the positions stands for channels; it needs an
    even number of positions in every map."""
    dropout: float = Field(default=0.01, ge=0, lt=1)
    """Of the expanded maps."""
    margin: float = Field(default=0.3, ge=0)
    """Of the triplet, un-normalised Euclidean."""
    cpm_margin: float = Field(default=0.2, ge=0)
    """Of the pairs of centres, un-normalised Euclidean."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    trunk_lr_scale: float = Field(default=0.1, gt=0)
    """Of stems, layers, aggregation and expansion; for ImageNet weights."""

    @property
    def features(self) -> int:
        """Width D of one of the six features."""
        return self.trunk.planes(self.layers) * self.trunk.expansion

    @model_validator(mode="after")
    def _last_stride_is_there(self) -> Self:
        if self.layers == 3 and self.last_stride != 1:
            raise ValueError("last_stride is of layer 4, which layers=3 leaves out: leave it at 1")
        return self
