"""Guidance: spatial cross-attention from the shared map to the purified specific map. Training only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) in which positions of one map query positions of another.

    Both maps are layer-normalised over channels; queries, keys and values have D/4 channels, and the context is added
    to the querying map: shared + W·attention. Nothing is detached, so the loss on the result reaches the attention and
    the trunks of both maps.
    """

    def __init__(self, channels: int, heads: int, reduction: int = 4) -> None:
        super().__init__()
        inner = channels // reduction
        self.heads = heads
        self.norm_query = nn.LayerNorm(channels)
        self.norm_source = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, inner)
        self.key_value = nn.Linear(channels, 2 * inner)
        self.output = nn.Linear(inner, channels)

    def forward(self, shared: Tensor, specific: Tensor) -> Tensor:
        """B×D×h×w, twice → B×D×h×w."""
        tokens, source = _tokens(shared), _tokens(specific)
        query = self._split(self.query(self.norm_query(tokens)))
        key, value = self.key_value(self.norm_source(source)).chunk(2, dim=-1)
        context = F.scaled_dot_product_attention(query, self._split(key), self._split(value))
        attended: Tensor = tokens + self.output(context.transpose(1, 2).flatten(2))
        height, width = shared.shape[2:]
        return attended.reshape(len(shared), height, width, -1).permute(0, 3, 1, 2)

    def _split(self, x: Tensor) -> Tensor:
        """B×N×inner → B×heads×N×(inner/heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


def _tokens(feature_map: Tensor) -> Tensor:
    """B×D×h×w → B×(h·w)×D; a view where the map is channels-last."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)
