"""IV-REID (code linyq17/IV-REID, in the line of reid-strong-baseline): one network for both modalities.

An auxiliary head with a branch per modality classifies every sample twice; on a modality's own rows its branch learns
the identities and is pulled towards what the other branch says of them. The head is training-only.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vireid.core.types import Batch, ModelOutput
from vireid.losses.fixed_target import kl_from_fixed
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.base import ReIDModel
from vireid.models.heads import AveragePool
from vireid.models.iv_reid_config import IVREIDConfig
from vireid.models.pretrained import load_trunk
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import TrunkSpec


class IVREIDEmbedder(nn.Module):
    """ResNet without ReLU in the stem, average pooling, batch norm: the graph that is deployed."""

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.stem = Stem(spec)
        self.stem.relu = nn.Identity()
        self.branch = Branch(spec)
        self.pool = AveragePool()
        self.neck = nn.BatchNorm1d(spec.features)  # its bias is trained

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, not L2-normalised."""
        pooled = self.pool(self.branch(self.stem(match_memory(self.stem, images))))
        feature: Tensor = self.neck(pooled.to(self.neck.weight.dtype))
        return feature


class IVREID(ReIDModel, nn.Module):
    """The network and its loss terms; a branch of the head exists only where an active term trains it."""

    Config: ClassVar[type[IVREIDConfig]] = IVREIDConfig

    def __init__(self, config: IVREIDConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self._weights = config.active_weights()
        width = config.trunk.features
        self.embedder = IVREIDEmbedder(config.trunk)
        self.heads = nn.ModuleDict()
        if "id" in self._weights:
            self.heads["id"] = _linear(width, num_classes)
        for modality in ("visible", "infrared"):
            if f"id_{modality}" in self._weights:
                self.heads[modality] = nn.Sequential(
                    nn.BatchNorm1d(width), _linear(width, config.head_width), _linear(config.head_width, num_classes)
                )
        if config.pretrained is not None:
            load_trunk(config.pretrained, self.embedder.stem, [self.embedder.branch])
        if config.conv_bias:  # after loading: published weights have none
            for part in self.embedder.modules():
                if isinstance(part, nn.Conv2d):
                    part.bias = nn.Parameter(torch.zeros(part.out_channels))

    def forward(self, batch: Batch) -> ModelOutput:
        """Feature ``embedding`` (f, after batch norm); logits ``id`` and of the branches, ``visible`` and ``infrared``.

        Both branches see all rows; their batch norms therefore mix the modalities.
        """
        feature = self.embedder(batch.images)
        with torch.autocast(device_type=feature.device.type, enabled=False):
            logits = {name: head(feature) for name, head in self.heads.items()}
        return ModelOutput({"embedding": feature}, logits)

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms, each modality's on its own rows."""
        rows = {"visible": batch.visible, "infrared": batch.infrared}
        other = {"visible": "infrared", "infrared": "visible"}
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type=batch.labels.device.type, enabled=False):
            for name in self._weights:
                kind, _, modality = name.partition("_")
                if kind == "triplet":
                    distances = euclidean(output.features["embedding"])
                    terms[name] = batch_hard_triplet(distances, batch.labels, self.config.margin)
                elif not modality:
                    terms[name] = cross_entropy(output.logits["id"], batch.labels)
                elif kind == "id":
                    mine = rows[modality]
                    terms[name] = cross_entropy(output.logits[modality][mine], batch.labels[mine])
                else:
                    mine = rows[modality]
                    target, logits = output.logits[other[modality]][mine], output.logits[modality][mine]
                    terms[name] = kl_from_fixed(target, logits, self.config.kl)
        return terms

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Network with its identity classifier, and the auxiliary head, whose rate is scaled by ``head_lr_scale``."""
        auxiliary = ("heads.visible.", "heads.infrared.")
        return self.grouped(("network", ("",), 1.0), ("auxiliary head", auxiliary, self.config.head_lr_scale))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of layer 4, for weightings by gradient norms."""
        return list(self.embedder.branch.layer4[-1].parameters())


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Linear layer with He initialisation (fan out) and a zero bias, as in reid-strong-baseline."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    nn.init.zeros_(layer.bias)
    return layer
