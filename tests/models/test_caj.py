from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Batch
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean
from vireid.losses.squared_weighted_triplet import squared_weighted_triplet
from vireid.models.caj import CAJ
from vireid.models.caj_config import CAJConfig
from vireid.overrides import compose

MakeBatch = Callable[..., Batch]
SMALL = {"name": "caj", "backbone": "resnet18", "width": 0.125, "nonlocal_blocks": (0, 2, 2, 0)}


def build(**settings: Any) -> CAJ:
    torch.manual_seed(0)
    return CAJ(parse(CAJConfig, SMALL | settings, "test"), 10)


@pytest.mark.parametrize("triplet", ["paper", "released"])
def test_terms_are_over_both_views_and_infrared(make_batch: MakeBatch, triplet: str) -> None:
    model, batch = build(triplet=triplet), make_batch(height=32, width=16, views=2)
    output = model(batch)
    terms = model.loss_terms(output, batch)
    pooled, released = output.features["pooled"], triplet == "released"
    assert len(pooled) == 24
    expected = squared_weighted_triplet(euclidean(pooled), batch.labels, released=released)
    assert terms["triplet"].item() == expected.item()
    assert terms["id"].item() == cross_entropy(output.logits["id"], batch.labels).item()
    assert terms.keys() == {"id", "triplet"}, "the agreement of CAJ+ is off"


def test_agreement_pulls_the_first_view_towards_the_second_of_the_same_image(make_batch: MakeBatch) -> None:
    model, batch = build(weights={"agreement": 1.0}), make_batch(height=32, width=16, views=2)
    output = model(batch)
    measured = model.loss_terms(output, batch)["agreement"]
    first = output.logits["id"][:16][batch.visible[:16]]
    second = output.logits["id"][16:]
    expected = -(second.softmax(1) * first.log_softmax(1)).sum(1).mean()
    assert measured.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_missing_view_is_named(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch(height=32, width=16)
    with pytest.raises(UserError, match=r"needs 2 augmented views .* use augmentation=caj"):
        model.loss_terms(model(batch), batch)
    batch = make_batch(height=32, width=16, views=2)
    other = replace(batch, view=torch.zeros_like(batch.view))
    output = model(other)
    with pytest.raises(UserError, match="needs 2 augmented views"):
        model.loss_terms(output, other)
    with pytest.raises(UserError, match="model 'caj' needs 2 augmented views"):
        compose(["data=sysu_quick", "model=caj_small", "recipe=smoke", "augmentation=base"])


def test_agreement_needs_the_classifier() -> None:
    with pytest.raises(UserError, match="weight id"):
        build(weights={"agreement": 1.0, "id": 0.0})


def test_presets_are_the_method_at_two_sizes_and_what_the_code_differs_in() -> None:
    def preset(name: str, augmentation: str = "caj") -> dict[str, Any]:
        return compose([f"model={name}", f"augmentation={augmentation}"], "test").model.model_dump()

    full, small = preset("caj"), preset("caj_small")
    differs = {key for key in full if full[key] != small[key]}
    assert differs == {"backbone", "width", "nonlocal_blocks", "trunk_lr_scale"}
    assert {key for key, value in preset("caj_released").items() if value != full[key]} == {"triplet"}
    plus = compose(["model=caj_plus", "augmentation=caj_plus"], "test").model
    assert plus.active_weights() == {"id": 1.0, "triplet": 1.0, "agreement": 1.0}
