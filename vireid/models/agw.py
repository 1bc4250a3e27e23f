"""AGW: attention, generalised mean, weighted triplet (Ye et al., TPAMI 2021, arXiv 2001.04193), cross-modal."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vireid.core.types import Batch, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.weighted_triplet import weighted_triplet
from vireid.models.agw_config import AGWConfig
from vireid.models.agw_network import AGWNetwork

RELEASED_NULL_WEIGHT = 1e-6


class AGW(AGWNetwork):
    """Identity loss after the neck, weighted regularised triplet before it, over the rows of both modalities."""

    Config: ClassVar[type[AGWConfig]] = AGWConfig
    version: ClassVar[str] = AGWConfig.version

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
