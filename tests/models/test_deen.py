from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.public_state import GOLDEN, drawn
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.losses.cpm import centre_pairs, orthogonality
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.deen import DEEN, EMBEDDINGS
from vireid.models.deen_blocks import ChannelStep, Expansion, PositionStep
from vireid.models.deen_config import DEENConfig
from vireid.models.resnet import Branch, Stem
from vireid.overrides import compose

MakeBatch = Callable[..., Batch]
SMALL = {"name": "deen", "backbone": "resnet18", "width": 0.125}


def build(**settings: Any) -> DEEN:
    torch.manual_seed(0)
    return DEEN(parse(DEENConfig, SMALL | settings, "test"), 10)


def woken(step: nn.Module) -> nn.Module:
    """Its last batch norm starts at 0, with which it does nothing."""
    nn.init.normal_(step.W[1].weight)
    return step.double().eval()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_channel_step_is_the_plain_formula(stride: int) -> None:
    torch.manual_seed(0)
    step = ChannelStep(6, 4, stride).double().eval()
    lower = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    higher = torch.randn(2, 6, *(-(-size // stride) for size in lower.shape[2:]), dtype=torch.float64)
    assert torch.equal(step(higher, lower), higher)
    woken(step)
    theta, phi, g = step.theta(higher).flatten(2), step.phi(lower).flatten(2), step.g(lower).flatten(2)
    y = torch.zeros_like(g)
    for a in range(4):
        for b in range(4):
            y[:, a] += (theta[:, a] * phi[:, b]).sum(1, keepdim=True) / 4 * g[:, b]
    expected = higher + step.W(y.view_as(lower))
    assert torch.allclose(step(higher, lower), expected, rtol=1e-12, atol=1e-12)


def test_the_position_step_is_the_plain_formula() -> None:
    torch.manual_seed(0)
    step = woken(PositionStep(6, 4, released=False))
    higher, lower = torch.randn(2, 6, 3, 3, dtype=torch.float64), torch.randn(2, 4, 5, 3, dtype=torch.float64)
    theta, phi, g = step.theta(higher).flatten(2), step.phi(lower).flatten(2), step.g(lower).flatten(2)
    y = torch.zeros_like(theta)
    for i in range(9):
        for j in range(15):
            y[:, :, i] += (theta[:, :, i] * phi[:, :, j]).sum(1, keepdim=True) / 15 * g[:, :, j]
    expected = higher + step.W(y.view(2, 2, 3, 3))
    assert torch.allclose(step(higher, lower), expected, rtol=1e-12, atol=1e-12)


def test_the_released_position_step_mixes_channels_with_halves_of_the_positions() -> None:
    torch.manual_seed(0)
    step = woken(PositionStep(6, 4, released=True))
    higher, lower = torch.randn(2, 6, 4, 3, dtype=torch.float64), torch.randn(2, 4, 4, 5, dtype=torch.float64)
    maps = [part(x).flatten(2) for part, x in ((step.theta, higher), (step.phi, lower), (step.g, lower))]
    theta, phi, g = (
        torch.cat([x[:, c, h * n : (h + 1) * n, None] for c in (0, 1) for h in (0, 1)], dim=2)
        for x in maps
        for n in [x.shape[2] // 2]
    )  # B×N/2×4: channel 0's halves, then channel 1's
    y = torch.zeros_like(theta)
    for i in range(6):
        for j in range(10):
            y[:, i] += (theta[:, i] * phi[:, j]).sum(1, keepdim=True) / 10 * g[:, j]
    laid_back = torch.stack([torch.cat([y[:, :, 2 * c], y[:, :, 2 * c + 1]], dim=1) for c in (0, 1)], dim=1)
    expected = higher + step.W(laid_back.view(2, 2, 4, 3))
    assert torch.allclose(step(higher, lower), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(UserError, match=r"one is 3×3: give .* position_step=paper"):
        step(higher[:, :, :3], lower)


def test_the_expansion_is_the_image_s_map_and_two_more() -> None:
    torch.manual_seed(0)
    block = Expansion(8, 0.01).eval()
    x = torch.randn(2, 8, 5, 4)
    own, first, second = block(x)
    assert torch.equal(own, x)
    for branch, measured in ((1, first), (2, second)):
        scales = [
            nn.functional.conv2d(x, getattr(block, f"FC{branch}{d}").weight, padding=d, dilation=d) for d in (1, 2, 3)
        ]
        last = getattr(block, f"FC{branch}")
        expected = last(torch.relu((scales[0] + scales[1] + scales[2]) / 3))
        assert torch.allclose(measured, expected, atol=1e-6)


def test_terms_are_over_three_embeddings_of_every_image(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch(height=32, width=16)
    output = model(batch)
    terms = model.loss_terms(output, batch)
    rows = torch.cat([output.features[name] for name in EMBEDDINGS])
    labels = batch.labels.repeat(3)
    assert terms["triplet"].item() == batch_hard_triplet(euclidean(rows), labels, 0.3).item()
    logits = torch.cat([output.logits[name] for name in EMBEDDINGS])
    assert terms["id"].item() == cross_entropy(logits, labels).item()
    order = torch.cat([batch.visible.nonzero()[:, 0], batch.infrared.nonzero()[:, 0]])
    image, *expanded = (output.features[name][order] for name in EMBEDDINGS)
    expected = sum(centre_pairs(image, more, 2, 0.2).item() for more in expanded)
    assert terms["cpm"].item() == pytest.approx(expected, rel=1e-6)
    assert terms["orthogonality"].item() == pytest.approx(orthogonality(*expanded).item(), rel=1e-6)
    assert model.default_weights() == {"id": 1.0, "triplet": 1.0, "cpm": 0.8, "orthogonality": 0.01}


def test_the_cosine_of_two_embeddings_is_the_mean_of_six_similarities(make_batch: MakeBatch) -> None:
    model, batch = build().eval(), make_batch(height=32, width=16)
    with torch.no_grad():
        pooled = model.embedder(batch.images, batch.infrared)
        maps = [*pooled, *model.embedder.shared.necked(pooled)]
        embedding = nn.functional.normalize(model.embed(batch)["embedding"], dim=1)
    similarities = [nn.functional.cosine_similarity(m[:1], m, dim=1) for m in maps]
    assert len(similarities) == len(model.config.embedding_maps) == 6
    assert torch.allclose(embedding @ embedding[0], torch.stack(similarities).mean(0), atol=1e-5)


def test_the_network_for_regdb_ends_after_layer_3(make_batch: MakeBatch, tmp_path: Path) -> None:
    spec = build().config.trunk
    state = Stem(spec).state_dict() | Branch(spec).state_dict()
    torch.save(state, tmp_path / "resnet.pth")
    model = build(layers=3, pretrained=tmp_path / "resnet.pth")
    trunk = model.embedder.shared.trunk
    assert list(trunk.layers) == ["layer1", "layer2", "layer3"]
    assert list(trunk.aggregations) == ["layer1", "layer2"]
    assert trunk.expansion.FC11.in_channels == 16
    assert torch.equal(trunk.layers["layer3"][1].conv2.weight, state["layer3.1.conv2.weight"])
    assert model.eval().embed(make_batch(height=32, width=16))["embedding"].shape == (16, 6 * 32)
    full = DEENConfig.model_validate({"name": "deen", "layers": 3})
    assert full.features == 1024
    with pytest.raises(UserError, match="last_stride is of layer 4"):
        build(layers=3, last_stride=2)


def test_the_trunk_has_a_tenth_of_the_rate() -> None:
    model = build()
    trunk, heads = model.parameter_groups()
    assert (trunk["lr_scale"], heads["lr_scale"]) == (0.1, 1.0)
    neck = model.embedder.shared.neck.weight
    assert {id(p) for p in heads["params"]} == {id(neck), id(model.classifier.weight)}


def test_presets_are_the_method_at_two_sizes_and_what_the_code_differs_in() -> None:
    def preset(name: str) -> dict[str, Any]:
        return compose([f"model={name}"], "test").model.model_dump()

    full, small = preset("deen"), preset("deen_small")
    assert {key for key in full if full[key] != small[key]} == {"backbone", "width", "trunk_lr_scale"}
    assert {key for key, value in preset("deen_released").items() if value != full[key]} == {"position_step"}
    assert {key for key, value in preset("deen_regdb").items() if value != full[key]} == {"layers"}


def test_the_paper_s_position_step_is_not_the_released_one() -> None:
    """The golden features are the released code's; with the plain formula they are others."""
    model = DEEN(DEENConfig(), 20).eval()
    from vireid.models.importers import IMPORTERS

    layout = IMPORTERS.load("deen")().layout(20)
    model.load_state_dict({e.target: drawn(key, e.shape) for key, e in layout.items() if e.target})
    images = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 3, 96, 48))).float()
    with torch.no_grad():
        measured = model.deployable(Modality.VISIBLE)(images)[:, :2048]
    released = torch.from_numpy(np.load(GOLDEN / "model_deen.npz")["visible_pool"])[:4]
    assert float((measured - released).abs().max() / released.abs().max()) > 1e-3
