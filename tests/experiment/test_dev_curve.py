"""Evaluating on dev while training: the curve that reports read, and weights that do not know of it."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from tests.tiny import tiny
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
