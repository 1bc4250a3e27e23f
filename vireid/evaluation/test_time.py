"""What a model makes of an image at test beyond one pass, as a named value of the protocol card. No torch.

A protocol ranks features, whoever made them; which images, and which pass over each, made a *model's* features is said
here.
"""

from typing import Literal, Self

from pydantic import model_validator

from vireid.evaluation.corruption import Corruption
from vireid.evaluation.protocols import KReciprocal, ProtocolConfig

TestTimeRule = Literal["none", "flip", "flip-summed", "flip-weighted"]

MAP_WEIGHTS = {"pooled": 0.1, "neck": 0.9}
"""Of ``flip-weighted``, by what a map of the embedding is."""


class ModelProtocol(ProtocolConfig):
    """A protocol under which a model's own features are ranked."""

    test_time: TestTimeRule = "none"
    """``flip``: an image's feature and its mirror image's, each of unit length, added up and made unit again, as CAJ's
    test does; where an embedding is several maps side by side, map by map. DEEN's test leaves the sum of either side as
    long as it is and adds the similarities of the maps up: all alike in ``flip-summed``, those before the neck by 0.1
    and those after it by 0.9 in ``flip-weighted``."""
    corruption: Corruption | None = None
    """Null: images as they are."""

    @model_validator(mode="after")
    def _rule_is_possible(self) -> Self:
        if self.test_time == "none":
            return self
        if self.text != "none":
            raise ValueError(f"test_time {self.test_time} is of images alone; with text {self.text} set it to none")
        if not self.normalise:
            raise ValueError(f"test_time {self.test_time} adds unit features; set normalise to true")
        if self.test_time != "flip" and isinstance(self.reranking, KReciprocal):
            raise ValueError(
                f"test_time {self.test_time} gives similarities between modalities, re-ranking needs distances within "
                "one too; set reranking to none, or test_time to flip"
            )
        if self.test_time != "flip" and self.spec.mixed:
            raise ValueError(
                f"test_time {self.test_time} gives similarities between modalities, and the gallery of {self.name} has "
                "both; set test_time to flip or none"
            )
        return self

    @model_validator(mode="after")
    def _corruption_is_possible(self) -> Self:
        if self.corruption is not None:
            self.corruption.require_possible(self)
        return self
