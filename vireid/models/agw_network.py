"""The AGW network (Ye et al., TPAMI 2021, arXiv 2001.04193), which TSKD builds on too: configuration and parts."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, Modality
from vireid.models.agw_config import AGWNetworkConfig
from vireid.models.heads import bn_neck, classifier
from vireid.models.pooling import OffsetGeM
from vireid.models.pretrained import load_trunk
from vireid.models.two_stream import ModalityPath, SharedTrunk, TwoStream

ParameterRole = Literal["deployed", "training_only", "dead"]


class AGWNetwork(nn.Module):
    """Two stems, shared layers with non-local blocks, GeM, BNNeck, and one bias-free identity classifier."""

    def __init__(self, config: AGWNetworkConfig, num_classes: int) -> None:
        super().__init__()
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
        self._trunk_lr_scale = config.trunk_lr_scale

    def features(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Feature before the neck and after it (B×D each), and identity logits (B×C) where a term needs them."""
        pooled, embedding = self.embedder(batch.images, batch.infrared)
        if self.classifier is None:
            return pooled, embedding, None
        with torch.autocast(device_type=embedding.device.type, enabled=False):
            return pooled, embedding, self.classifier(embedding)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Feature after the neck (B×D), in evaluation mode, each row through its modality's stem."""
        return {"embedding": self.embedder(batch.images, batch.infrared)[1]}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trunk and heads; the trunk's rate is scaled by ``trunk_lr_scale``."""
        trunk: list[nn.Parameter] = []
        heads: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                (heads if name.startswith(("embedder.neck.", "classifier.")) else trunk).append(parameter)
        return [
            {"params": trunk, "lr_scale": self._trunk_lr_scale, "name": "trunk"},
            {"params": heads, "lr_scale": 1.0, "name": "heads"},
        ]

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """Role of every parameter in the cost table: the classifier alone is not deployed."""
        return {
            name: "deployed" if name.startswith("embedder.") else "training_only" for name, _ in self.named_parameters()
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of layer 4, for weightings by gradient norms."""
        return list(list(self.embedder.trunk.layers["layer4"].children())[-1].parameters())

    def deployable(self, modality: Modality) -> ModalityPath:
        """Independent copy of the modality's stem and everything shared, in evaluation mode."""
        return self.embedder.path(modality)
