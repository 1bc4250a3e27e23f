"""AGW: attention, generalised mean, weighted triplet (Ye et al., TPAMI 2021, arXiv 2001.04193), cross-modal.

TSKD builds on its network too.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality, ModelOutput
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.weighted_triplet import weighted_triplet
from vireid.models.agw_config import AGWConfig, AGWNetworkConfig
from vireid.models.base import ReIDModel
from vireid.models.heads import OffsetGeM, bn_neck, classifier
from vireid.models.pretrained import load_trunk
from vireid.models.two_stream import ModalityPath, SharedTrunk, TwoStream


class AGWNetwork(ReIDModel, nn.Module):
    """Two stems, shared layers with non-local blocks, GeM, BNNeck, and one bias-free identity classifier."""

    def __init__(self, config: AGWNetworkConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        spec = config.trunk
        trunk = SharedTrunk(spec, config.nonlocal_blocks, config.nonlocal_width)
        neck = bn_neck(spec.features)
        nn.init.normal_(neck.weight, 1.0, 0.01)  # as released
        self.embedder = TwoStream(spec, trunk, OffsetGeM(config.gem_p), neck)
        self.classifier: nn.Linear | None = None
        if "id" in config.active_weights():
            self.classifier = classifier(spec.features, num_classes)
        if config.pretrained is not None:
            load_trunk(config.pretrained, self.embedder.visible, [trunk.layers, self.embedder.infrared])

    def forward(self, batch: Batch) -> ModelOutput:
        """Features ``pooled`` (before the neck) and ``embedding`` (after it); logits ``id`` where a term needs them."""
        pooled, embedding = self.embedder(batch.images, batch.infrared)
        logits = {}
        if self.classifier is not None:
            with torch.autocast(device_type=embedding.device.type, enabled=False):
                logits["id"] = self.classifier(embedding)
        return ModelOutput({"pooled": pooled, "embedding": embedding}, logits)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Feature after the neck (B×D), in evaluation mode, each row through its modality's stem."""
        return {"embedding": self.embedder(batch.images, batch.infrared)[1]}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trunk and heads; the trunk's rate is scaled by ``trunk_lr_scale``."""
        return self.grouped(
            ("trunk", ("",), self.config.trunk_lr_scale), ("heads", ("embedder.neck.", "classifier."), 1.0)
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of layer 4, for weightings by gradient norms."""
        return list(list(self.embedder.trunk.layers["layer4"].children())[-1].parameters())

    def deployable(self, modality: Modality) -> ModalityPath:
        """Independent copy of the modality's stem and everything shared, in evaluation mode."""
        return self.embedder.path(modality)


RELEASED_NULL_WEIGHT = 1e-6


class AGW(AGWNetwork):
    """Identity loss after the neck, weighted regularised triplet before it, over the rows of both modalities."""

    Config: ClassVar[type[AGWConfig]] = AGWConfig

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
