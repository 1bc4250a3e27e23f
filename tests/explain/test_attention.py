"""Received attention against loops over heads and positions."""

import math

import pytest
import torch

from vireid.core.types import Batch
from vireid.explain.attention import attention_maps
from vireid.models.attention import CrossAttention, SelfAttention
from vireid.models.two_stream import NonLocal
from vireid.models.vit import ViT
from vireid.models.vit_config import ViTConfig


def batch_of(images: torch.Tensor) -> Batch:
    zeros = torch.zeros(len(images), dtype=torch.int64)
    return Batch(images=images, labels=zeros, modality=zeros, camera=zeros, view=zeros)


class Around(torch.nn.Module):
    """A model that hands images to one attending module."""

    def __init__(self, part: torch.nn.Module, twice: bool = False) -> None:
        super().__init__()
        self.part, self.twice = part, twice

    def forward(self, batch: Batch):
        images = batch.images
        return self.part(images, images.flip(3)) if self.twice else self.part(images)


def softmax_by_loops(query, key, heads: int) -> list[float]:
    """What each of M keys (M×D) gets from N queries (N×D), mean over heads and queries, times M."""
    width = query.shape[1] // heads
    received = [0.0] * len(key)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for one in query[:, part]:
            scores = [math.exp(float(one @ other) / math.sqrt(width)) for other in key[:, part]]
            for position, score in enumerate(scores):
                received[position] += score / sum(scores) / heads / len(query) * len(key)
    return received


@pytest.mark.parametrize("twice", [False, True])
def test_softmax_attention_is_what_positions_receive(twice: bool) -> None:
    torch.manual_seed(0)
    part = (CrossAttention if twice else SelfAttention)(32, 2).eval()
    images = torch.randn(2, 32, 3, 4)
    (found,) = attention_maps(Around(part, twice), batch_of(images))
    assert found.module == "part"
    assert found.received.shape == (2, 3, 4)
    torch.testing.assert_close(found.received.mean((1, 2)), torch.ones(2))
    for row in range(2):
        tokens = images[row].permute(1, 2, 0).flatten(0, 1)
        with torch.no_grad():
            if twice:
                other = images[row].flip(2).permute(1, 2, 0).flatten(0, 1)
                query = part.query(part.norm_query(tokens))
                key, _ = part.key_value(part.norm_source(other)).chunk(2, -1)
            else:
                query, key, _ = part.query_key_value(part.norm(tokens)).chunk(3, -1)
        expected = softmax_by_loops(query, key, 2)
        torch.testing.assert_close(found.received[row].flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_is_read_from_its_class_token() -> None:
    pytest.importorskip("timm", reason="a vision transformer needs the extra: make install EXTRAS=backbones")
    torch.manual_seed(0)
    config = ViTConfig(dim=32, depth=2, heads=2, patch=8, stride=6, image_size=(32, 20))
    model = ViT(config, 3).eval()
    images, inputs = torch.randn(2, 3, 32, 20), []
    last = model.embedder.trunk.network.blocks[-1]
    last.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach()))
    (found,) = attention_maps(model, batch_of(images))
    assert found.module == "embedder.trunk"
    assert found.received.shape == (2, 5, 3)
    for row in range(2):
        with torch.no_grad():
            query, key, _ = last.attn.qkv(last.norm1(inputs[0][row])).chunk(3, -1)
        expected = softmax_by_loops(query[:1], key[1:], 2)
        torch.testing.assert_close(found.received[row].flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_non_local_blocks_are_read_by_magnitude() -> None:
    torch.manual_seed(0)
    part = NonLocal(8, 2).eval()
    images = torch.randn(1, 8, 2, 3)
    (found,) = attention_maps(Around(part), batch_of(images))
    with torch.no_grad():
        theta, phi = part.theta(images)[0].flatten(1).T, part.phi(images)[0].flatten(1).T
    expected = [sum(abs(float(one @ other)) for one in theta) / len(theta) for other in phi]
    torch.testing.assert_close(found.received[0].flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_a_model_without_attention_has_none_and_keeps_no_hook() -> None:
    plain = Around(torch.nn.Conv2d(3, 2, 1))
    assert attention_maps(plain, batch_of(torch.zeros(1, 3, 4, 2))) == []
    attending = Around(SelfAttention(32, 2).eval())
    attention_maps(attending, batch_of(torch.zeros(1, 32, 2, 2)))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in attending.modules())
