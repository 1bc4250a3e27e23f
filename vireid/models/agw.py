"""AGW: attention, generalised mean, weighted triplet (Ye et al., TPAMI 2021, arXiv 2001.04193), cross-modal."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vireid.core.types import Batch, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.weighted_triplet import weighted_triplet
from vireid.models.agw_network import AGWNetwork, AGWNetworkConfig

RELEASED_NULL_WEIGHT = 1e-6


class AGWConfig(AGWNetworkConfig):
    """Configuration of AGW."""

    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 1.0}

    name: str = "agw"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    # paper: softmax weights over an anchor's positives and over its negatives. released: the anchor is one of its own
    # positives, and 1e-6 in the softmax's denominators lets far negatives drop out (vireid.losses.weighted_triplet).
    triplet: Literal["paper", "released"] = "paper"


class AGW(AGWNetwork):
    """Identity loss after the neck, weighted regularised triplet before it, over the rows of both modalities."""

    Config: ClassVar[type[AGWConfig]] = AGWConfig
    version: ClassVar[str] = "1"

    def __init__(self, config: AGWConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.config = config

    def default_weights(self) -> dict[str, float]:
        """Weight of every active loss term."""
        return self.config.active_weights()

    def forward(self, batch: Batch) -> ModelOutput:
        """Features ``pooled`` (before the neck) and ``embedding``; logits ``id``."""
        pooled, embedding, logits = self.features(batch)
        return ModelOutput({"pooled": pooled, "embedding": embedding}, {} if logits is None else {"id": logits})

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """``id`` and ``triplet``, unweighted; the features of the triplet are not normalised."""
        weights, released = self.config.active_weights(), self.config.triplet == "released"
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=batch.labels.device.type, enabled=False):
            if "id" in weights:
                terms["id"] = cross_entropy(output.logits["id"], batch.labels, self.config.label_smoothing)
            if "triplet" in weights:
                terms["triplet"] = weighted_triplet(
                    euclidean(output.features["pooled"]),
                    batch.labels,
                    self_positive=released,
                    null_weight=RELEASED_NULL_WEIGHT if released else 0.0,
                )
        return terms

    def end_epoch(self) -> None:
        """Nothing to update: AGW keeps no state between epochs."""
