"""A vision transformer for both modalities: the trunk of TransReID and PMT under the field's baseline head.

ViT-B/16 with overlapping patches (He et al., TransReID, ICCV 2021), shared by visible and infrared images as in PMT (Lu
et al., AAAI 2023, arXiv 2212.00226; code hulu88/PMT); the class token is the feature, identity loss after its BNNeck
(Luo et al., CVPRW 2019), batch-hard triplet before it. That is the method ``base`` of PMT's code.

It is not PMT. PMT trains its first epochs on grey visible images with a triplet within each modality, and only then on
colour; this has no such stage. PMT's two further losses are here by name, ``msel`` and ``dcl``, and off. Of TransReID
it lacks the jigsaw branch and the embeddings of cameras.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, ModelOutput
from vireid.losses.discriminative_centre import discriminative_centre
from vireid.losses.identity import cross_entropy
from vireid.losses.modality_shared import modality_shared_enhancement
from vireid.losses.numeric import euclidean
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.base import ReIDModel
from vireid.models.heads import bn_neck, classifier
from vireid.models.vit_config import ViTConfig
from vireid.models.vit_trunk import VisionTrunk


class ViTEmbedder(nn.Module):
    """Trunk and BNNeck: the graph that is deployed."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.trunk = VisionTrunk(config)
        self.neck = bn_neck(config.dim)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, after the neck and not L2-normalised."""
        return self.both(images)[1]

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class token and the same after the neck: B×3×H×W → two of B×D."""
        token = self.trunk(images)
        return token, self.neck(token.to(self.neck.weight.dtype))


class ViT(ReIDModel, nn.Module):
    """The network and its loss terms; the classifier exists only where ``id`` trains it."""

    Config: ClassVar[type[ViTConfig]] = ViTConfig

    def __init__(self, config: ViTConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.embedder = ViTEmbedder(config)
        self.classifier: nn.Linear | None = None
        if "id" in config.active_weights():
            self.classifier = classifier(config.dim, num_classes)
        if config.pretrained is not None:
            self.embedder.trunk.load(config.pretrained)

    def forward(self, batch: Batch) -> ModelOutput:
        """Features ``pooled`` (class token before the neck) and ``embedding``; logits ``id`` where a term needs it."""
        pooled, embedding = self.embedder.both(batch.images)
        output = ModelOutput({"pooled": pooled, "embedding": embedding})
        if self.classifier is not None:
            with torch.autocast(device_type=embedding.device.type, enabled=False):
                output.logits["id"] = self.classifier(embedding)
        return output

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms; features of the metric terms are not normalised."""
        pooled, labels = output.features["pooled"], batch.labels
        table: dict[str, Callable[[], Tensor]] = {
            "id": lambda: cross_entropy(output.logits["id"], labels, self.config.label_smoothing),
            "triplet": lambda: batch_hard_triplet(euclidean(pooled), labels, self.config.margin),
            "msel": lambda: modality_shared_enhancement(euclidean(pooled), labels, batch.infrared),
            "dcl": lambda: discriminative_centre(pooled, labels),
        }
        with torch.autocast(device_type=labels.device.type, enabled=False):
            return {name: table[name]() for name in self.config.active_weights()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Patch embedding and blocks, scaled by ``trunk_lr_scale``; class token, positions, norm and heads."""
        network = "embedder.trunk.network."
        trunk = (f"{network}patch_embed.", f"{network}blocks.")
        return self.grouped(("trunk", trunk, self.config.trunk_lr_scale), ("heads", ("",), 1.0))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block and its norm, for weightings by gradient norms."""
        return self.embedder.trunk.last_parameters()
