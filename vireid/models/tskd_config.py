"""Configuration of TSKD."""

from typing import ClassVar, Literal

from pydantic import Field

from vireid.models.agw_config import AGWNetworkConfig

VIEWS = 2  # of every visible image


class TSKDConfig(AGWNetworkConfig):
    """Configuration of TSKD. Weights are the paper's."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0, "self_mimic": 1.0, "mutual": 0.05}

    visible_views: ClassVar[int] = VIEWS  # what the augmentation must give

    name: str = "tskd"
    margin: float = Field(default=0.2, ge=0)
    """Of the triplet, un-normalised Euclidean."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mutual_views: Literal["sum", "mean"] = "sum"
    """The discrepancies of the two views add up in the related code, whose weight is the paper's; how the paper joins
    them is not known. mean: half of that."""
    prototype_mode: Literal["train", "eval"] = "train"
    """Mode of the network in the pass that computes prototypes.

    The related code leaves it in training mode: batch statistics, as the features that mimic them have, and running
    statistics move on. The paper says nothing.
    """
