"""The suite's ResNet as one piece."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from vireid.models.backbones import LastStride
from vireid.models.pretrained import load_trunk
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import Depth, IBNKind, TrunkSpec


class ResNet(nn.Module):
    """ResNet-18, -34 or -50 (He et al., CVPR 2016), without its classifier."""

    def __init__(self, name: str, width: float, last_stride: LastStride, ibn: IBNKind) -> None:
        super().__init__()
        spec = TrunkSpec(cast(Depth, name), width, last_stride, ibn)
        self.features, self.ibn = spec.features, ibn
        self.stem = Stem(spec)
        self.branch = Branch(spec)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D×h×w."""
        result: Tensor = self.branch(self.stem(match_memory(self.stem, images)))
        return result

    def last_parameters(self) -> list[nn.Parameter]:
        """Those of the last block of layer 4."""
        return list(self.branch.layer4[-1].parameters())

    def load(self, path: Path) -> None:
        """Load torchvision's weights, which fit width 1."""
        load_trunk(path, self.stem, [self.branch], ibn=self.ibn)
