"""Every system trains and is evaluated as at commit f034c70, which made most records under results/.

``golden/training.json`` was written by that commit's code on a processor with AVX-512: loss terms of two epochs of
three steps, and mAP on dev; the cases with learned weights by that of 713e6b6, before weightings shared their
construction. Other instruction sets and library versions round otherwise, and steps carry that on; a
changed loss, augmentation, sampler, initial weight or metric moves these numbers by far more than the tolerances.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.overrides import compose
from vireid.store import Store

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text(encoding="utf-8"))
FIRST, LATER = 2e-3, 3e-2  # relative, of the first epoch and of all others


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("golden"))


@pytest.mark.check
@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_training_and_evaluation_are_what_they_were(name: str, store: Store) -> None:
    case = GOLDEN["cases"][name]
    config = compose([*GOLDEN["base"], *case["overrides"]])
    fit = fit_step(RunContext(config, store))
    for number, (entry, terms) in enumerate(zip(fit.curves, case["epochs"], strict=True)):
        assert entry["terms"] == pytest.approx(terms, rel=LATER if number else FIRST, abs=1e-3)
    for entry, weights in zip(fit.curves, case.get("weights", [entry["weights"] for entry in fit.curves]), strict=True):
        assert entry["weights"] == pytest.approx(weights, rel=LATER, abs=1e-3)
    assert evaluate_step(RunContext(config, store))[0].metrics["mAP"] == pytest.approx(case["mAP"], abs=0.03)
