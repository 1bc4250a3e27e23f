"""The graph that is deployed: trunk, optional attention, GeM pooling, BNNeck."""

from __future__ import annotations

from torch import Tensor, nn

from vireid.models.attention import SelfAttention
from vireid.models.heads import GeM, bn_neck
from vireid.models.resnet import Branch, Stem, match_memory
from vireid.models.trunk import TrunkSpec


class Embedder(nn.Module):
    """Images to embeddings through one branch; methods with more branches start the others from ``stem``.

    Args:
        spec: shape of the trunk.
        gem_p: exponent of the pooling.
        gem_learnable: train the exponent.
        refine_heads: heads of a spatial self-attention on the final map; without it when None.
    """

    def __init__(self, spec: TrunkSpec, gem_p: float, gem_learnable: bool, refine_heads: int | None = None) -> None:
        super().__init__()
        self.stem = Stem(spec)
        self.branch = Branch(spec)
        self.pool = GeM(gem_p, gem_learnable)
        self.neck = bn_neck(spec.features)
        self.refine = None if refine_heads is None else SelfAttention(spec.features, refine_heads)

    def forward(self, images: Tensor) -> Tensor:
        """B×3×H×W → B×D, after the neck and not L2-normalised."""
        return self.head(self.final_map(self.common(images)))[1]

    def common(self, images: Tensor) -> Tensor:
        """Map after layer 2: B×3×H×W → B×C₂×H/8×W/8."""
        result: Tensor = self.stem(match_memory(self.stem, images))
        return result

    def final_map(self, common: Tensor) -> Tensor:
        """The map that is pooled, refined where attention is on: B×C₂×H/8×W/8 → B×D×h×w."""
        result: Tensor = self.branch(common)
        return result if self.refine is None else self.refine(result)

    def head(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled feature and the same after the neck: B×D×h×w → two of B×D."""
        pooled: Tensor = self.pool(feature_map)
        return pooled, self.neck(pooled.to(self.neck.weight.dtype))
