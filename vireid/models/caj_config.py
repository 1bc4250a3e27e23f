"""Configuration of CAJ and, by one weight, of CAJ+."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from vireid.models.agw_config import AGWNetworkConfig

VIEWS = 2  # of every visible image


class CAJConfig(AGWNetworkConfig):
    """Configuration of CAJ. ``agreement``, of CAJ+, is off unless weighted; that method's weight of it is 1."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0, "agreement": 0.0}

    visible_views: ClassVar[int] = VIEWS  # what the augmentation must give

    name: str = "caj"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    triplet: Literal["paper", "released"] = "paper"
    """``paper``: softmax weights over an anchor's positives and over its negatives, the squared difference unbounded;
    ``released``: the anchor is one of its own positives, 1e-6 in the softmax's denominators lets far negatives drop
    out, and the squared difference ends at 88, beyond which a row has no gradient."""

    @model_validator(mode="after")
    def _views_are_classified(self) -> Self:
        active = self.active_weights()
        if "agreement" in active and "id" not in active:
            raise ValueError("loss term agreement: compares the logits of the classifier that id trains; weight id")
        return self
