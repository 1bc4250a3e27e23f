from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.losses.numeric import euclidean
from vireid.losses.weighted_triplet import weighted_triplet
from vireid.models.agw import AGW
from vireid.models.agw_config import AGWConfig
from vireid.models.heads import OffsetGeM
from vireid.models.resnet import Branch, Stem
from vireid.models.two_stream import NonLocal

MakeBatch = Callable[..., Batch]
SMALL = {"name": "agw", "backbone": "resnet18", "width": 0.25, "nonlocal_blocks": (0, 2, 2, 0)}


def build(classes: int = 10, **settings: Any) -> AGW:
    torch.manual_seed(0)
    return AGW(parse(AGWConfig, SMALL | settings, "test"), classes)


def test_parameters_of_the_released_network() -> None:
    model = AGW(AGWConfig(), 395)
    deployed = sum(p.numel() for p in model.embedder.parameters())
    assert round(deployed / 1e6, 2) == 23.55
    trunk, stem = 23_508_032, 9_408 + 128
    blocks = sum(count * (3 * (c + 1) + 2 * c + 2 * c) for count, c in ((2, 512), (3, 1024)))
    assert deployed == trunk + stem + blocks + 2 * 2048
    assert sum(p.numel() for p in model.parameters()) == deployed + 395 * 2048
    assert len(model.embedder.trunk.nonlocals["layer2"]) == 2
    assert len(model.embedder.trunk.nonlocals["layer3"]) == 3
    assert model.embedder.trunk.layers["layer4"][0].conv2.stride == (1, 1)


@pytest.mark.parametrize("width", [1, 3])
def test_nonlocal_block_is_the_plain_formula(width: int) -> None:
    torch.manual_seed(0)
    block = NonLocal(6, width).double().eval()
    x = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    assert torch.equal(block(x), x)  # its batch norm starts at 0
    torch.nn.init.normal_(block.W[1].weight)
    theta, phi, g = (part(x).flatten(2) for part in (block.theta, block.phi, block.g))
    y = torch.zeros(2, width, 12, dtype=torch.float64)
    for b in range(2):
        for i in range(12):
            for j in range(12):
                y[b, :, i] += (theta[b, :, i] @ phi[b, :, j]) / 12 * g[b, :, j]
    expected = x + block.W(y.view(2, width, 4, 3))
    assert torch.allclose(block(x), expected, rtol=1e-12, atol=1e-12)


def test_nonlocal_blocks_follow_the_last_blocks_of_a_layer() -> None:
    model = build(backbone="resnet34", nonlocal_blocks=(0, 2, 3, 0))
    order: list[str] = []
    for name, part in model.embedder.trunk.named_modules():
        if name.count(".") == 2 and name.split(".")[1] in ("layer2", "layer3"):
            part.register_forward_hook(lambda m, i, o, name=name: order.append(name))
    model.eval().embedder.trunk(torch.zeros(1, 16, 8, 8))
    second = [f"layers.layer2.{i}" for i in range(4)]
    assert order[:6] == [*second[:3], "nonlocals.layer2.0", second[3], "nonlocals.layer2.1"]
    third = [f"layers.layer3.{i}" for i in range(6)]
    tail = [third[3], "nonlocals.layer3.0", third[4], "nonlocals.layer3.1", third[5], "nonlocals.layer3.2"]
    assert order[6:] == [*third[:3], *tail]


def test_pooling_is_the_released_one() -> None:
    x = torch.relu(torch.randn(2, 3, 4, 5, dtype=torch.float64))
    x[0, 0] = 0
    expected = ((x**3).mean(dim=(2, 3)) + 1e-12) ** (1 / 3)
    assert torch.allclose(OffsetGeM(3.0)(x), expected, rtol=1e-12)
    assert OffsetGeM(3.0)(x)[0, 0].item() == pytest.approx(1e-4)


def test_every_row_goes_through_its_modality_s_stem(make_batch: MakeBatch) -> None:
    model = build().eval()
    batch = make_batch()
    with torch.no_grad():
        whole = model.embed(batch)["embedding"]
        model.embedder.visible.conv1.weight.add_(0.1)
        changed = model.embed(batch)["embedding"]
    assert torch.equal(whole[batch.infrared], changed[batch.infrared])
    assert not torch.equal(whole[batch.visible], changed[batch.visible])


def test_order_of_the_rows_decides_nothing(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1))
    fields = ("images", "labels", "modality", "camera", "view")
    shuffled = replace(batch, **{name: getattr(batch, name)[order] for name in fields})
    one, other = model(batch), model(shuffled)
    assert torch.allclose(one.features["pooled"][order], other.features["pooled"], atol=1e-5)
    first, second = model.loss_terms(one, batch), model.loss_terms(other, shuffled)
    assert {k: v.item() for k, v in first.items()} == pytest.approx({k: v.item() for k, v in second.items()}, rel=1e-4)


@pytest.mark.parametrize("modality", list(Modality))
def test_a_batch_of_one_modality_is_embedded(make_batch: MakeBatch, modality: Modality) -> None:
    model, batch = build().eval(), make_batch()
    rows = batch.modality == int(modality)
    fields = ("images", "labels", "modality", "camera", "view")
    alone = replace(batch, **{name: getattr(batch, name)[rows] for name in fields})
    with torch.no_grad():
        measured, whole = model.embed(alone)["embedding"], model.embed(batch)["embedding"][rows]
    assert torch.allclose(measured, whole, atol=1e-5)


@pytest.mark.parametrize("triplet", ["paper", "released"])
def test_triplet_is_on_the_unnormalised_feature_before_the_neck(make_batch: MakeBatch, triplet: str) -> None:
    model, batch = build(triplet=triplet), make_batch()
    output = model(batch)
    released = triplet == "released"
    options = {"self_positive": released, "null_weight": 1e-6 if released else 0.0}
    expected = weighted_triplet(euclidean(output.features["pooled"]), batch.labels, **options)
    assert model.loss_terms(output, batch)["triplet"].item() == expected.item()


def test_the_trunk_has_a_tenth_of_the_rate() -> None:
    model = build()
    trunk, heads = model.parameter_groups()
    assert (trunk["lr_scale"], heads["lr_scale"]) == (0.1, 1.0)
    assert {id(p) for p in heads["params"]} == {id(model.embedder.neck.weight), id(model.classifier.weight)}


def test_published_weights_go_into_both_stems(tmp_path: Path) -> None:
    spec = build().config.trunk
    torch.manual_seed(5)
    state = Stem(spec).state_dict() | Branch(spec).state_dict()
    torch.save(state, tmp_path / "resnet.pth")
    model = build(pretrained=tmp_path / "resnet.pth")
    for part in (model.embedder.visible, model.embedder.infrared, model.embedder.trunk.layers):
        assert all(torch.equal(value, state[key]) for key, value in part.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nonlocal_blocks": (0, 2, 3, 0)}, "wants 3 in layer 3 of resnet18, which has 2 blocks"),
        ({"nonlocal_blocks": (0, 2)}, "nonlocal_blocks"),
        ({"nonlocal_width": 0}, "nonlocal_width"),
        ({"weights": {"tripet": 0.0}}, "did you mean 'triplet'"),
        ({"weights": {"id": 0.0, "triplet": 0.0}}, "every loss weight is 0"),
        ({"weights": {"id": -1.0}}, "not negative"),
        ({"width": 0.3}, "must divide by 8"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_parts_without_an_active_term_do_not_exist(make_batch: MakeBatch) -> None:
    model, batch = build(weights={"id": 0.0}), make_batch()
    assert model.classifier is None
    assert model.loss_terms(model(batch), batch).keys() == model.default_weights().keys() == {"triplet"}
