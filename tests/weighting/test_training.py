"""Every weighting, with and without curriculum, through the training loop: it trains, resumes, records its weights."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

from tests.training.parts import TinyLoader, TinyModel, recipe
from vireid.training.loop import fit
from vireid.weighting import CURRICULA, WEIGHTINGS

CASES = list(product(WEIGHTINGS.names(), CURRICULA.names()))
BF16 = {"accumulation": 2, "precision": "bf16"}
ONE_OF_A_KIND = [("plain", {}, "uncertainty", "off"), ("accumulated bf16", BF16, "gradnorm", "ramp")]
EVERY = [(*setting, *case) for setting in (("plain", {}), ("accumulated bf16", BF16)) for case in CASES]


def cases_of_resuming():
    """One with state of its own and one with everything in `make test`; the others in `make check`."""
    for setting, changes, weighting, curriculum in EVERY:
        marks = [] if (setting, changes, weighting, curriculum) in ONE_OF_A_KIND else [pytest.mark.check]
        yield pytest.param(changes, weighting, curriculum, marks=marks, id=f"{setting}-{weighting}-{curriculum}")


SETTINGS = {"ramp": {"terms": ["centre"], "end": 1.0}}


class SharingModel(TinyModel):
    """The tiny model with shared parameters."""

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.trunk[0].parameters())


class KilledError(Exception):
    """Stands for the end of the process."""


def train(directory, weighting, curriculum, config=None, kill_at=None, steps=5):
    kind, ramp = WEIGHTINGS.load(weighting), CURRICULA.load(curriculum)
    config = config or recipe()
    model = SharingModel()
    inner = kind(kind.Config(), model.default_weights())
    weights = ramp(ramp.Config(**SETTINGS.get(curriculum, {})), config.total_epochs).wrap(inner)

    def progress(epoch, _epochs, step, _steps, _loss):
        if (epoch, step) == kill_at:
            raise KilledError

    result = fit(
        model, TinyLoader(steps), config, weights, seed=3, directory=directory, resume_key="k", progress=progress
    )
    return model, weights, result.curves


def without_times(curves):
    return [{k: v for k, v in e.items() if k not in ("seconds", "data_seconds", "images_per_second")} for e in curves]


@pytest.mark.parametrize(("changes", "weighting", "curriculum"), cases_of_resuming())
def test_a_run_resumed_in_mid_epoch_is_bitwise_the_same(tmp_path, weighting, curriculum, changes):
    config = recipe(**changes)
    model, weights, curves = train(tmp_path / "whole", weighting, curriculum, config)
    with pytest.raises(KilledError):
        train(tmp_path / "parts", weighting, curriculum, config, kill_at=(3, 3))
    again, again_weights, again_curves = train(tmp_path / "parts", weighting, curriculum, config)
    for a, b in ((model, again), (weights, again_weights)):
        left, right = a.state_dict(), b.state_dict()
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name].nan_to_num(), right[name].nan_to_num()) for name in left)
    assert without_times(curves) == without_times(again_curves)
    assert all(math.isfinite(entry["loss"]) for entry in curves)


@pytest.mark.parametrize(("weighting", "curriculum"), CASES)
def test_recorded_weights_are_those_that_the_loss_used(tmp_path, weighting, curriculum):
    """With one batch per epoch the epoch's loss is the sum of its terms times its weights (uncertainty adds Σf·s/2)."""
    _, _, curves = train(tmp_path, weighting, curriculum, steps=1)
    for epoch, entry in enumerate(curves):
        weights = entry["weights"]
        assert list(weights) == ["id", "centre"]
        factor = {"id": 1.0, "centre": epoch / 4 if curriculum == "ramp" else 1.0}
        expected = sum(weights[name] * value for name, value in entry["terms"].items())
        if weighting == "uncertainty":
            base = {"id": 1.0, "centre": 0.1}
            expected += sum(f / 2 * -math.log(weights[name] / f / base[name]) for name, f in factor.items() if f)
        assert entry["loss"] == pytest.approx(expected, rel=1e-5)
        assert (weights["centre"] == 0) == (factor["centre"] == 0)
    if weighting in ("uncertainty", "gradnorm"):
        assert len({entry["weights"]["id"] for entry in curves}) > (2 if curriculum == "off" else 1)


def test_stages_with_other_terms_and_a_frozen_trunk(tmp_path):
    stages = [
        {"name": "a", "epochs": 2},
        {"name": "b", "epochs": 1, "trainable": ["head.*"], "terms": ["id"]},
        {"name": "c", "epochs": 1},
    ]
    _, weights, curves = train(tmp_path, "gradnorm", "off", recipe(stages=stages))
    first, second, third, last = (entry["weights"] for entry in curves)
    assert first["id"] != second["id"]
    assert list(third) == ["id"]  # and its w stands still: nothing reaches the frozen trunk
    assert last["centre"] != second["centre"]
    assert weights.scale.sum().item() == pytest.approx(2.0)


def test_gradnorm_moves_once_per_optimiser_step(tmp_path):
    _, one, _ = train(tmp_path / "one", "gradnorm", "off", steps=4)
    _, two, _ = train(tmp_path / "two", "gradnorm", "off", recipe(accumulation=2), steps=4)
    assert one.steps.tolist() == [16.0, 16.0]
    assert two.steps.tolist() == [8.0, 8.0]
    assert two.measured.tolist() == [0.0, 0.0]
