"""Heat maps and attention over every registered model: none may stop ``vireid explain``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.models.test_contract import CASES, model  # noqa: F401 - a fixture
from vireid.core.types import Batch, Modality
from vireid.explain.attention import attention_maps
from vireid.explain.grad_cam import last_map, similarity_maps

pytestmark = pytest.mark.check
ATTENDING = {"agw", "tskd", "caj", "vit"}  # non-local blocks, tokens; IDKL's attention is a choice


def test_similarity_can_be_followed_back_in_either_modality(model: Any) -> None:  # noqa: F811
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra 'explain'")
    images = torch.randn(1, 3, 64, 32)
    model.eval()
    for modality in Modality:
        embedder = model.deployable(modality)
        other = embedder(torch.randn(1, 3, 64, 32)).detach()
        _, layer = last_map(embedder, images)
        maps = similarity_maps(embedder, layer, images, other)
        assert maps.shape == (1, 64, 32)
        assert 0 <= maps.min() <= maps.max() <= 1


def test_attention_is_drawn_where_there_is_some(model: Any) -> None:  # noqa: F811
    zeros = torch.zeros(2, dtype=torch.int64)
    batch = Batch(
        images=torch.randn(2, 3, 64, 32),
        labels=zeros,
        modality=torch.tensor([0, 1]),
        camera=zeros,
        view=zeros,
        captions=["a person", "a person"],
    )
    found = attention_maps(model.eval(), batch)
    name = model.config.name
    attends = name in ATTENDING or getattr(model.config, "mha", "none") in ("guidance", "refine")
    if attends:
        assert found
    if name not in ATTENDING | {"tvi_lfm", "compact"}:
        assert bool(found) == attends
    for one in found:
        assert one.received.shape[0] == 2
        assert isinstance(dict(model.named_modules())[one.module], nn.Module)


def test_every_model_is_here() -> None:
    assert {name for name, _ in CASES} >= ATTENDING
