"""The attentions against loops over positions and against the library's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vireid.models.attention import CrossAttention, ForkAttention, SelfAttention


def attend(query: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Context of one query (inner) over N keys and values (N×inner), head by head."""
    width = len(query) // heads
    context = []
    for part in (slice(h * width, (h + 1) * width) for h in range(heads)):
        scores = torch.stack([query[part] @ key[part] for key in keys]) / width**0.5
        context.append((scores.softmax(0)[:, None] * values[:, part]).sum(0))
    return torch.cat(context)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_cross_attention_equals_loops_over_positions(heads: int) -> None:
    torch.manual_seed(0)
    attention = CrossAttention(16, heads).double()
    shared, specific = torch.randn(2, 16, 3, 2).double(), torch.randn(2, 16, 3, 2).double()
    measured = attention(shared, specific)
    for b in range(2):
        source = attention.norm_source(specific[b].flatten(1).T)
        keys, values = attention.key_value(source).chunk(2, dim=-1)
        for y, x in ((y, x) for y in range(3) for x in range(2)):
            token = shared[b, :, y, x]
            query = attention.query(attention.norm_query(token))
            expected = token + attention.output(attend(query, keys, values, heads))
            assert torch.allclose(measured[b, :, y, x], expected)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_self_attention_starts_as_identity_and_equals_loops_over_positions(heads: int) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16, heads).double()
    feature_map = torch.randn(2, 16, 3, 2).double()
    assert torch.equal(attention(feature_map), feature_map)
    torch.nn.init.normal_(attention.output.weight)
    torch.nn.init.normal_(attention.output.bias)
    measured = attention(feature_map)
    for b in range(2):
        tokens = feature_map[b].flatten(1).T
        queries, keys, values = attention.query_key_value(attention.norm(tokens)).chunk(3, dim=-1)
        for position, token in enumerate(tokens):
            expected = token + attention.output(attend(queries[position], keys, values, heads))
            assert torch.allclose(measured[b].flatten(1).T[position], expected)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_fork_attention_equals_the_library_s_over_single_tokens_whatever_asks(heads: int) -> None:
    torch.manual_seed(0)
    attention = ForkAttention(16, heads)
    torch.nn.init.normal_(attention.projection.in_proj_bias)
    torch.nn.init.normal_(attention.projection.out_proj.bias)
    specific = torch.randn(5, 16, requires_grad=True)
    measured = attention(specific)
    for seed in range(2):
        query = torch.randn(5, 1, 16, generator=torch.Generator().manual_seed(seed)) * 10
        expected, weights = attention.projection(query, specific[:, None], specific[:, None])
        assert torch.equal(weights, torch.ones_like(weights))
        assert torch.allclose(measured, expected[:, 0], atol=1e-6)
    assert not measured.requires_grad
