"""Configuration of TVI-LFM."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.core.files import OrHub
from vireid.models.base import TrunkConfig

IMAGE_TERMS = ("id", "triplet")


class TVILFMConfig(TrunkConfig):
    """Network, fusion with text, and what is trained on it. Defaults are the paper's method on ResNet-50."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0, "id_text": 1.0, "triplet_text": 1.0}

    visible_views: ClassVar[int] = 2  # of every visible image, which the augmentation must give

    name: str = "tvi_lfm"
    fusion: Literal["none", "add", "filter"] = "filter"
    """``filter``: f = ir + t_rgb − t_ir. add: f = ir + t_rgb. none: the base network, which reads no text."""
    joint: bool = True
    """Modality joint learning: the text terms see {visible, augmented visible, ir, f, t_rgb}; without it {visible,
    augmented visible, f}."""
    retrieval: Literal["fused", "ensemble"] = "ensemble"
    """How a query with text is scored. ensemble: cos(f, g) + cos(ir, g) + cos(t, g). fused: cos(f, g)."""
    gem_p: float = Field(default=3.0, gt=0)
    """Start of the learnable exponent."""
    triplet: Literal["paper", "released"] = "paper"
    """``paper``: softmax weights over an anchor's positives and over its negatives; ``released``: as in AGW."""
    classifier_lr_scale: float = Field(default=2.0, gt=0)
    """Of the batch norm and the classifier after it."""
    text_lr_scale: float = Field(default=1.0, gt=0)
    text_library: Literal["open_clip", "transformers"] = "open_clip"
    text_width: int = Field(default=512, gt=0)
    """Of CLIP RN50's tower, as are the other three."""
    text_layers: int = Field(default=12, gt=0)
    text_heads: int = Field(default=8, gt=0)
    text_context: int = Field(default=77, ge=8)
    """Tokens of a caption, longer ones are cut."""
    text_weights: Annotated[Path | None, OrHub()] = (
        None  # pretrained tower: file, folder or hub name (vireid.models.text)
    )

    @model_validator(mode="after")
    def _text_is_possible(self) -> Self:
        if self.text_width % self.text_heads:
            raise ValueError(f"text_width {self.text_width} does not divide into {self.text_heads} text_heads")
        if self.fusion == "none" and self.joint:
            raise ValueError("joint=true learns from text too: set fusion to filter or add, or joint=false")
        if self.fusion == "none" and self.retrieval == "ensemble":
            raise ValueError(
                "retrieval=ensemble adds text to the score: set fusion to filter or add, or retrieval=fused"
            )
        return self

    @property
    def uses_text(self) -> bool:
        """Whether training and queries need captions."""
        return self.fusion != "none"

    def active_weights(self) -> dict[str, float]:
        """Weight of every loss term that is on."""
        return {
            term: weight for term, weight in super().active_weights().items() if self.uses_text or term in IMAGE_TERMS
        }
