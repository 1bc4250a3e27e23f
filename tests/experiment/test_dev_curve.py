"""Evaluating on dev while training: the curve that reports read, and weights that do not know of it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.experiment.context import RunContext
from vireid.experiment.fit import fit_step
from vireid.experiment.reload import weights_file
from vireid.report.sections.training import dev_scores
from vireid.store import Store

STAGES = ["data.split=dev", "recipe.epochs=3", "model.ibn=a", "recipe.precision=bf16", "recipe.channels_last=true"]
STAGES += ["runtime.emulate=true"]  # where the processor has no bfloat16


def test_curve_holds_dev_metrics_and_weights_are_bitwise_those_without(tmp_path, rendered):
    store = Store(tmp_path)
    common = [f"data.root={rendered}", *STAGES]
    plain = fit_step(RunContext(tiny(*common), store))
    watched = fit_step(RunContext(tiny(*common, "recipe.evaluate_every=2"), store))
    assert plain.id != watched.id  # the curve is part of what was asked for
    assert [sorted(entry.get("dev", {}))[:1] != [] for entry in watched.curves] == [False, True, False]
    (entry,) = (entry for entry in watched.curves if "dev" in entry)
    assert {"mAP", "r1"} <= entry["dev"].keys()
    assert all(0 <= entry["dev"][name] <= 1 for name in ("mAP", "r1"))
    assert dev_scores(watched) == ([2.0], [entry["dev"]["mAP"]])
    assert [e["loss"] for e in plain.curves] == [e["loss"] for e in watched.curves]
    a, b = (load_file(weights_file(store, fit.id)) for fit in (plain, watched))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)  # running statistics included


def test_a_test_run_can_follow_its_curve_on_dev_identities_that_it_does_not_train_on(tmp_path, rendered):
    store = Store(tmp_path)
    common = [f"data.root={rendered}", "data.split=test", "recipe.epochs=1"]
    with pytest.raises(UserError, match=r"needs data.split=dev, or data.hold_out_dev=true"):
        tiny(*common, "recipe.evaluate_every=1")
    with pytest.raises(UserError, match=r"hold_out_dev is for data.split=test"):
        tiny(f"data.root={rendered}", "data.split=dev", "data.hold_out_dev=true")
    final = RunContext(tiny(*common), store)
    held = RunContext(tiny(*common, "data.hold_out_dev=true", "recipe.evaluate_every=1"), store)
    dev = RunContext(tiny(f"data.root={rendered}", "data.split=dev", "recipe.epochs=1"), store)
    assert held.ids.fit not in (final.ids.fit, dev.ids.fit)
    assert held.data.train.paths == dev.data.train.paths
    assert set(held.data.train.paths) < set(final.data.train.paths)
    assert held.data.evaluation.paths == final.data.evaluation.paths
    assert held.data.dev.paths == dev.data.evaluation.paths
    assert not set(held.data.dev.identity) & set(held.data.train.identity)
    assert fit_step(held).curves[-1]["dev"]["mAP"] > 0


@pytest.mark.parametrize(
    ("scores", "gain"),
    [
        ({8: 0.40, 10: 0.43}, 0.03),
        ({2: 0.1, 6: 0.39, 9: 0.5, 10: 0.41}, 0.02),
        ({9: 0.4, 10: 0.4}, None),
        ({8: 0.4}, None),
    ],
)
def test_late_gain_is_what_the_last_fifth_added(scores, gain, watched_fit):
    curves = [{"epoch": n, **({"dev": {"mAP": scores[n]}} if n in scores else {})} for n in range(1, 11)]
    found = watched_fit.model_copy(update={"curves": curves}).late_gain
    assert found == (None if gain is None else pytest.approx(gain))


def test_a_step_that_takes_longer_now_and_then_counts_and_a_hiccup_does_not(watched_fit):
    steps = [4.0 if n % 4 == 0 else 1.0 for n in range(400)]
    steps[7] = 1000.0
    found = watched_fit.model_copy(update={"step_seconds": steps}).step_time
    assert found == pytest.approx(1 + 3 * 80 / 360, abs=0.02)  # the slowest twentieth is left out on either side
    assert watched_fit.model_copy(update={"step_seconds": []}).step_time is None


@pytest.fixture(scope="module")
def watched_fit(tmp_path_factory, rendered) -> FitRecord:
    store = Store(tmp_path_factory.mktemp("watched"))
    return fit_step(RunContext(tiny(f"data.root={rendered}", "data.split=dev", "recipe.epochs=1"), store))


def test_a_learned_weight_at_its_bound_is_on_record(tmp_path, rendered):
    common = [f"data.root={rendered}", "recipe.epochs=2", "weighting=uncertainty", "weighting.lr_scale=50"]
    tight = fit_step(RunContext(tiny(*common, "weighting.bound=0.01"), Store(tmp_path)))
    wide = fit_step(RunContext(tiny(*common, "weighting.bound=100"), Store(tmp_path)))
    assert "id_shared" in (tight.at_bound or ())
    assert wide.at_bound == []
    assert tight.model_copy(update={"curves": [{"epoch": 1}]}).at_bound is None  # a record older than this
