from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.idkl_config import RELEASED_WEIGHTS

MakeBatch = Callable[..., Batch]


def build(classes: int = 10, **settings: Any) -> IDKL:
    torch.manual_seed(0)
    config = parse(IDKLConfig, {"name": "idkl", "backbone": "resnet18", "width": 0.25} | settings, "test")
    return IDKL(config, classes)


def off(*kept: str) -> dict[str, float]:
    return {name: 0.0 for name in RELEASED_WEIGHTS if name not in kept}


def test_default_weights_are_the_released_ones_whatever_the_batch() -> None:
    expected = (1, 1, 1, 1, 1, 1, 0.1, 1, 0.6, 1, 0.8, 1, 0.8)
    assert tuple(build().default_weights().values()) == expected
    assert build(weights={"purifier": 0.5}).default_weights()["purifier"] == 0.5


def test_parameters_of_the_paper_s_network() -> None:
    model = IDKL(IDKLConfig(), 395)
    counts: dict[str, int] = {"deployed": 0, "training_only": 0}
    for name, parameter in model.named_parameters():
        counts[model.parameter_roles()[name]] += parameter.numel()
    trunk = 23_508_032  # ResNet-50 without its classifier
    branch = 22_063_104  # its layers 3 and 4
    assert counts["deployed"] == trunk + 2 * 2048
    purifier = 2 * 2048 + 4 * 2048 * 128
    discriminator = 2048 * 100 + 100 + 100 * 100 + 100 + 100 * 2 + 2 + 4 * 100
    assert counts["training_only"] == branch + purifier + 2 * 2048 + 3 * 395 * 2048 + 2 * discriminator


def test_features_logits_and_maps(make_batch: MakeBatch) -> None:
    output = build(mha="guidance")(make_batch())
    assert {name: tuple(x.shape) for name, x in output.features.items()} == dict.fromkeys(
        ("shared", "embedding", "specific", "normed", "normed_purified"), (16, 128)
    )
    identity = ("shared", "specific", "raw", "purified", "guided")
    expected = dict.fromkeys(identity, (16, 10)) | dict.fromkeys(("modality", "pseudo_modality"), (16, 2))
    assert {name: tuple(x.shape) for name, x in output.logits.items()} == expected
    assert {name: tuple(x.shape) for name, x in output.maps.items()} == {
        "shared": (16, 128, 4, 2),
        "specific": (16, 128, 4, 2),
    }


def test_parts_without_an_active_term_do_not_exist() -> None:
    baseline = build(weights=off("id_shared", "triplet_shared"))
    assert set(baseline.default_weights()) == {"id_shared", "triplet_shared"}
    assert {name.partition(".")[0] for name, _ in baseline.named_parameters()} == {"embedder", "heads"}
    assert set(baseline.heads) == {"shared"}
    assert set(build(weights=off("triplet_shared", "purifier")).heads) == {"purifier"}


@pytest.mark.parametrize("term", RELEASED_WEIGHTS)
def test_every_term_alone_trains_every_part_that_exists(term: str, make_batch: MakeBatch) -> None:
    batch = make_batch()
    model = build(weights=off("id_shared", term))
    terms = model.loss_terms(model(batch), batch)
    assert set(terms) == {"id_shared", term}
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_guidance_reaches_attention_and_both_trunks_and_leaves_the_deployed_graph_alone(
    make_batch: MakeBatch,
) -> None:
    batch = make_batch()
    plain, guided = build(), build(mha="guidance")
    terms = guided.loss_terms(guided(batch), batch)
    (terms["guidance_id"] + terms["guidance_kl"]).backward()
    parts = (guided.attention, guided.embedder.stem, guided.embedder.branch, guided.specific)
    for part in parts:
        assert part is not None
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients
        assert sum(float(g.abs().sum()) for g in gradients) > 0
    assert guided.attention is not None
    for name, parameter in guided.attention.named_parameters():
        if not name.startswith("key_value.bias"):  # keys' bias cancels in the softmax
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name
    assert plain.deployable(Modality.VISIBLE).state_dict().keys() == (
        guided.deployable(Modality.VISIBLE).state_dict().keys()
    )
    for (name, a), (_, b) in zip(
        plain.embedder.state_dict().items(), build(mha="guidance").embedder.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_neck_bias_stays_frozen(make_batch: MakeBatch) -> None:
    model = build()
    assert not model.embedder.neck.bias.requires_grad
    trained = {id(p) for group in model.parameter_groups() for p in group["params"]}
    assert id(model.embedder.neck.bias) not in trained
    assert float(model.embedder.neck.bias.abs().sum()) == 0


def test_deployable_is_an_independent_copy(make_batch: MakeBatch) -> None:
    model = build().eval()
    deployed = model.deployable(Modality.INFRARED)
    batch = make_batch()
    with torch.no_grad():
        before = deployed(batch.images)
        model.embedder.neck.weight.mul_(2)
        assert torch.equal(deployed(batch.images), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"tgsa_intr": 1.0}}, "unknown loss term 'tgsa_intr' in weights; did you mean 'tgsa_intra'"),
        ({"weights": {"guidance_kl": 1.0}}, "'guidance_kl' in weights needs mha=guidance"),
        ({"weights": {"purifier": -1.0}}, "weights are not negative"),
        ({"weights": off()}, "nothing would be trained"),
        ({"width": 0.3}, r"64·width must divide by 8"),
        ({"mha": "guidance", "heads": 3}, "heads 3 does not divide"),
        ({"ibn": "c"}, "Input should be 'none', 'a', 'b' or 'fork'"),
        ({"backbone": "resnet51"}, "did you mean 'resnet50'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_a_batch_without_pairs_is_named(make_batch: MakeBatch) -> None:
    batch = make_batch()
    model = build()
    broken = replace(batch, modality=torch.zeros_like(batch.modality))
    with pytest.raises(UserError, match="16 visible and 0 infrared rows"):
        model.loss_terms(model(broken), broken)


def test_training_lowers_the_loss(make_batch: MakeBatch) -> None:
    model = build(mha="guidance").train()
    batch = make_batch()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    history = []
    for _ in range(20):
        terms = model.loss_terms(model(batch), batch)
        loss = sum(weight * terms[name] for name, weight in model.default_weights().items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(terms["id_shared"].detach()))
    assert history[-1] < 0.8 * history[0]
