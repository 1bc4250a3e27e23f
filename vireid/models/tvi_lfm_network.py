"""The visual part of TVI-LFM: what its text stage holds frozen."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from vireid.core.types import Modality
from vireid.models.heads import GeM
from vireid.models.pretrained import load_trunk
from vireid.models.trunk_spec import TrunkSpec
from vireid.models.two_stream import ModalityPath, ModalityStem, SharedTrunk


class VisualPart(nn.Module):
    """A stem per modality without activation, shared layers, GeM with a learnable exponent.

    Args:
        spec: shape of the trunk.
        p: start of the exponent.
        pretrained: ImageNet weights for both stems and the layers.
    """

    def __init__(self, spec: TrunkSpec, p: float, pretrained: Path | None) -> None:
        super().__init__()
        self.visible = ModalityStem(spec, relu=False)
        self.infrared = ModalityStem(spec, relu=False)
        self.trunk = SharedTrunk(spec)
        self.pool = GeM(p, learnable=True)
        if pretrained is not None:
            load_trunk(pretrained, self.visible, [self.trunk.layers, self.infrared])

    def forward(self, images: Tensor, infrared: Tensor) -> Tensor:
        """Pooled features (B×D) of images (B×3×H×W), each through its modality's stem, then all together."""
        order = torch.argsort(infrared.to(torch.int8), stable=True)  # visible rows first
        count = len(infrared) - int(infrared.sum())
        parts = zip((self.visible, self.infrared), (order[:count], order[count:]), strict=True)
        stems = [stem(images.index_select(0, rows)) for stem, rows in parts if len(rows)]
        result: Tensor = self.pool(self.trunk(torch.cat(stems))).index_select(0, torch.argsort(order))
        return result

    def path(self, modality: Modality, neck: nn.BatchNorm1d) -> ModalityPath:
        """Independent copy of one modality's path with the batch norm after it, in evaluation mode."""
        stem = self.infrared if modality is Modality.INFRARED else self.visible
        return deepcopy(ModalityPath(stem, self.trunk, self.pool, neck)).eval()
