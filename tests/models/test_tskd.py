from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.losses.test_mmd import naive as naive_mmd
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.seeding import key_to_int
from vireid.core.types import Batch
from vireid.models.tskd import TSKD, Prototypes
from vireid.models.tskd_config import TSKDConfig
from vireid.overrides import compose
from vireid.training.config import RecipeConfig
from vireid.training.loop import fit
from vireid.weighting.config import FixedConfig
from vireid.weighting.fixed import FixedWeighting

MakeBatch = Callable[..., Batch]
CLASSES = 6


def build(**settings: Any) -> TSKD:
    torch.manual_seed(0)
    config = {"name": "tskd", "backbone": "resnet18", "width": 0.125, "nonlocal_blocks": (0, 1, 1, 0)}
    return TSKD(parse(TSKDConfig, config | settings, "test"), CLASSES)


def learned(model: TSKD, *batches: Batch) -> None:
    with torch.no_grad():
        model.after_epoch(batches)


def test_prototypes_are_class_means_per_group_and_stay_where_nothing_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 4, generator=generator)
    labels, groups = torch.arange(20) % 3, torch.arange(20) % 2
    state = Prototypes(3, 4, 4)
    state.means[2, 3] = 7.0
    state.known[2, 3] = True
    state.update((features[part], labels[part], groups[part]) for part in (slice(0, 9), slice(9, 20)))
    for group in range(3):
        for label in range(4):
            rows = [i for i in range(20) if labels[i] == label and groups[i] == group]
            if rows:
                assert torch.allclose(state.means[group, label], features[rows].mean(dim=0), atol=1e-6)
            assert bool(state.known[group, label]) == (bool(rows) or (group, label) == (2, 3))
    assert (state.means[2, 3] == 7.0).all()


def test_after_epoch_takes_features_before_the_neck_by_modality_and_view(make_batch: MakeBatch) -> None:
    model, batch = build(prototype_mode="eval"), make_batch(views=2)
    learned(model, batch)
    model.eval()
    with torch.no_grad():
        z = model(batch).features["pooled"]
    assert model.prototypes is not None
    for group, rows in enumerate((batch.visible & (batch.view == 0), batch.view == 1, batch.infrared)):
        for label in range(4):
            expected = z[rows & (batch.labels == label)].mean(dim=0)
            assert torch.allclose(model.prototypes.means[group, label], expected, atol=1e-5)
    assert model.prototypes.known.tolist() == [[True] * 4 + [False] * 2] * 3


@pytest.mark.parametrize(("mode", "moves"), [("train", True), ("eval", False)])
def test_mode_of_the_prototype_pass(make_batch: MakeBatch, mode: str, moves: bool) -> None:
    model, batch = build(prototype_mode=mode).train(), make_batch(views=2)
    model.embedder.neck.eval()  # as a stage with frozen parts leaves it
    before = model.embedder.visible.bn1.running_mean.clone()
    learned(model, batch)
    assert torch.equal(model.embedder.visible.bn1.running_mean, before) != moves
    assert model.training
    assert not model.embedder.neck.training


def test_terms_equal_loops(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch(views=2)
    output = model(batch)
    assert model.loss_terms(output, batch)["self_mimic"].item() == 0
    learned(model, make_batch(views=2, seed=1))
    terms = model.loss_terms(output, batch)
    z = output.features["pooled"].detach().double()
    assert model.prototypes is not None
    groups = [batch.visible & (batch.view == 0), batch.view == 1, batch.infrared]
    means = []
    for group, rows in enumerate(groups):
        target = model.prototypes.means[group, batch.labels[rows]].double()
        means.append((z[rows] - target).abs().mean().item())
    assert terms["self_mimic"].item() == pytest.approx((means[0] + means[1]) / 2 + means[2], rel=1e-5)
    total = 0.0
    for view in groups[:2]:
        for label in range(4):
            mine = batch.labels == label
            total += 2 * naive_mmd(z[view & mine].numpy(), z[groups[2] & mine].numpy()) / 4
    assert terms["mutual"].item() == pytest.approx(total, rel=1e-4)
    half = build(mutual_views="mean").loss_terms(output, batch)["mutual"].item()
    assert half == pytest.approx(total / 2, rel=1e-4)


def test_weights_are_the_paper_s_and_prototypes_have_no_parameters() -> None:
    model = build()
    assert model.default_weights() == {"id": 1.0, "triplet": 1.0, "self_mimic": 1.0, "mutual": 0.05}
    assert not list(model.prototypes.parameters())
    assert build(weights={"self_mimic": 0.0}).prototypes is None


def test_missing_views_are_named(make_batch: MakeBatch) -> None:
    model, batch = build(), make_batch()
    with pytest.raises(UserError, match="needs 2 augmented views of its visible images, this one has 1"):
        model.loss_terms(model(batch), batch)
    with pytest.raises(
        UserError, match=r"model 'tskd' needs 2 augmented views .* 'base' gives 1: use augmentation=tskd"
    ):
        compose(["model=tskd_small", "recipe=tskd_quick"], "test")
    compose(["model=tskd_small", "recipe=tskd_quick", "augmentation=tskd"], "test")


class Loader:
    """Two-view batches of random images, a function of epoch and step."""

    steps_per_epoch = 2

    def __init__(self, make_batch: MakeBatch) -> None:
        self.make = make_batch

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        for step in range(first_step, self.steps_per_epoch):
            seed = int(
                torch.randint(
                    1 << 30, (), generator=torch.Generator().manual_seed(key_to_int("tskd", epoch, step) % 2**63)
                )
            )
            yield self.make(height=32, width=16, views=2, seed=seed)


def recipe() -> RecipeConfig:
    plain = {
        "batch_size": 16,
        "identities": 4,
        "stages": [
            {"name": "one", "epochs": 2, "terms": ["id", "triplet", "self_mimic"]},
            {"name": "two", "epochs": 2},
        ],
        "optimiser": {"name": "sgd", "lr": 0.1, "nesterov": True, "weight_decay": 5e-4},
    }
    return parse(RecipeConfig, plain, "test")


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "kill_after", [pytest.param(1, marks=pytest.mark.check), 2, pytest.param(3, marks=pytest.mark.check)]
)
def test_stages_and_prototypes_survive_a_resume_exactly(tmp_path: Path, make_batch: MakeBatch, kill_after: int) -> None:
    def train(directory: Path, stop: int | None = None) -> tuple[TSKD, Any]:
        def on_epoch(entry: dict[str, Any]) -> None:
            if entry["epoch"] == stop:
                raise KilledError

        model = build()
        weighting = FixedWeighting(FixedConfig(), model.default_weights())
        options: dict[str, Any] = {"seed": 3, "directory": directory, "resume_key": "k", "on_epoch": on_epoch}
        return model, fit(model, Loader(make_batch), recipe(), weighting, **options)

    whole, result = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "parts", kill_after)
    again, resumed = train(tmp_path / "parts")
    assert resumed.resumed_from == kill_after
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert whole.prototypes is not None
    assert whole.prototypes.known[:, :4].all()
    curves = result.curves
    assert [entry["terms"] for entry in curves] == [entry["terms"] for entry in resumed.curves]
    assert curves[0]["terms"]["self_mimic"] == 0 < curves[1]["terms"]["self_mimic"]
    assert [("mutual" in entry["terms"]) for entry in curves] == [False, False, True, True]
