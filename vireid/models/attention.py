"""The attentions of the MHA toggle: guidance and the fork's (training only), refinement (deployed)."""

import torch
from torch import Tensor, nn

from vireid.models.idkl_config import REDUCTION


class CrossAttention(nn.Module):
    """Guidance: positions of the shared map query positions of the purified specific map (Vaswani et al., 2017).

    Both maps are layer-normalised over channels, and the context is added to the querying map: shared + W·attention.
    Nothing is detached, so the loss on the result reaches the attention and the trunks of both maps.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.heads = heads
        self.norm_query = nn.LayerNorm(channels)
        self.norm_source = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, inner)
        self.key_value = nn.Linear(channels, 2 * inner)
        self.output = nn.Linear(inner, channels)

    def forward(self, shared: Tensor, specific: Tensor) -> Tensor:
        """B×D×h×w, twice → B×D×h×w."""
        tokens, source = _tokens(shared), _tokens(specific)
        key, value = self.key_value(self.norm_source(source)).chunk(2, dim=-1)
        context = _attend(self.query(self.norm_query(tokens)), key, value, self.heads)
        return _map(tokens + self.output(context), shared)


class SelfAttention(nn.Module):
    """Refinement: positions of the shared map attend to each other; part of the deployed graph.

    The context is added to the map, and the output projection starts at 0: at first the map passes unchanged, so that
    attention does not disturb what a pretrained trunk knows.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * inner)
        self.output = nn.Linear(inner, channels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """B×D×h×w → the same."""
        tokens = _tokens(x)
        query, key, value = self.query_key_value(self.norm(tokens)).chunk(3, dim=-1)
        return _map(tokens + self.output(_attend(query, key, value, self.heads)), x)


class ForkAttention(nn.Module):
    """The attention of the fork (code quocnhut134/IDKL) as it acts: a fixed random projection of the specific feature.

    There, each image's pooled shared feature queries its own pooled specific feature. Over that single key the softmax
    is 1 whatever query and key say, and the result is detached: what remains is W_out(W_value·p + b_value) + b_out with
    weights that no gradient ever reaches. Names and initialisation are those of ``nn.MultiheadAttention``, of which it
    is an instance; query and key projections exist for the count of (dead) parameters and never run.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.projection = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.requires_grad_(False)

    def forward(self, specific: Tensor) -> Tensor:
        """B×D → B×D, without gradient."""
        width = specific.shape[1]
        weight, bias = self.projection.in_proj_weight[2 * width :], self.projection.in_proj_bias[2 * width :]
        with torch.no_grad():
            projected: Tensor = self.projection.out_proj(nn.functional.linear(specific, weight, bias))
        return projected


def _tokens(feature_map: Tensor) -> Tensor:
    """B×D×h×w → B×(h·w)×D; a view where the map is channels-last."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


def _map(tokens: Tensor, like: Tensor) -> Tensor:
    """B×(h·w)×D → B×D×h×w, with the height and width of ``like``; channels-last."""
    batch, _, height, width = like.shape
    return tokens.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head attention of B×N×inner queries over B×M×inner keys and values → B×N×inner."""
    query, key, value = (x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (query, key, value))
    return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
