"""What a study would take is what its steps took before on this machine; unknown steps are named as unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.ablation.estimate import estimate, lines
from vireid.ablation.plan import make_plan
from vireid.ablation.study import Study
from vireid.core.config import parse
from vireid.core.environment import Environment
from vireid.core.records import FitRecord
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.overrides import compose
from vireid.store import Store

STEPS, EPOCHS = 30, 20


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, rendered: Path) -> tuple[Store, FitRecord]:
    store = Store(tmp_path_factory.mktemp("store"))
    run = RunContext(tiny(f"data.root={rendered}"), store)
    fit = fit_step(run)
    fit = fit.model_copy(
        update={
            "step_seconds": [0.9, *[0.2] * 38, 0.05],  # what a step takes is a trimmed mean
            "seconds": 10.0,
            "started": "2026-01-01T10:00:00+00:00",
            "ended": "2026-01-01T10:00:25+00:00",
        }
    )
    store.put(fit)
    for seconds, evaluation in enumerate(evaluate_step(run)):  # 0, 1, 2
        times = {"started": "2026-01-01T10:00:25+00:00", "ended": f"2026-01-01T10:00:{25 + seconds}+00:00"}
        store.put(evaluation.model_copy(update=times))
    return store, fit


def study_of(fit: FitRecord, **changes: str) -> Study:
    """Two cells, two seeds, with the network and the batch of a record."""
    recipe = fit.config["recipe"]
    keys = {"batch_size": recipe["batch_size"], "identities": recipe["identities"]}
    model = {"width": fit.config["model"]["width"], "backbone": fit.config["model"]["backbone"]}
    data = {"height": fit.config["data"]["height"], "width": fit.config["data"]["width"]}
    base = ["data=sysu_quick", "model=idkl_small", "recipe=smoke"]
    base += [f"recipe.{key}={value}" for key, value in keys.items()]
    base += [f"model.{key}={value}" for key, value in model.items()]
    base += [f"data.{key}={value}" for key, value in data.items()]
    base += [f"recipe.steps_per_epoch={STEPS}", f"recipe.epochs={EPOCHS}", "recipe.schedule={name: constant}"]
    base += [f"{key}={value}" for key, value in changes.items()]
    factors = {"weighting": {"fixed": [], "dwa": ["weighting=dwa"]}}
    content = {"name": "s", "title": "S", "base": base, "design": "one_at_a_time", "factors": factors, "seeds": [5, 6]}
    return parse(Study, content, "study s.yaml")


def estimated(study: Study, store: Store, here: Environment, jobs: int = 1):
    plan, configs = make_plan(study)
    return estimate(plan, configs, store, (), here, jobs)


def test_steps_times_what_one_takes_and_what_comes_beside(told) -> None:
    store, fit = told
    found = estimated(study_of(fit), store, fit.environment, jobs=2)
    assert len(found.fits) == 4
    for one in found.fits:
        assert one.steps == STEPS * EPOCHS
        assert one.seconds == pytest.approx(STEPS * EPOCHS * 0.2 + (25 - 10) + 3)
    assert found.hours == pytest.approx(4 * (STEPS * EPOCHS * 0.2 + 18) / 3600 / 2)
    assert found.bytes >= 4 * (store.directory(fit.id) / "model.safetensors").stat().st_size
    text = lines(study_of(fit), found)
    assert text[0] == "s: 4 fits to come, 0 on record, 2 side by side"
    assert text[1].startswith(f"about {found.hours:.1f} h ({(STEPS * EPOCHS * 0.2 + 18) / 60:.1f} min a fit)")


def test_other_machines_kernels_threads_and_sizes_tell_nothing(told) -> None:
    store, fit = told
    here = fit.environment
    others = [
        here.model_copy(update={"threads": here.threads + 1}),
        here.model_copy(update={"accelerator": "NVIDIA H200"}),
        here.model_copy(update={"device": {**here.device, "cpu": "another"}}),
        here.model_copy(update={"device": {**here.device, "kernel_isa": ["sse4_2"]}}),
    ]
    for elsewhere in others:
        assert estimated(study_of(fit), store, elsewhere).hours is None
    found = estimated(study_of(fit, **{"data.height": "96"}), store, here)
    assert found.hours is None
    assert "4 of them unknown: no record of this machine" in lines(study_of(fit), found)[1]
    by_data = study_of(fit, **{"recipe.steps_per_epoch": "null"})
    assert "set recipe.steps_per_epoch" in lines(by_data, estimated(by_data, store, here))[1]


def test_finished_fits_are_not_counted(told, tmp_path: Path) -> None:
    store, fit = told
    study = study_of(fit)
    plan, configs = make_plan(study)
    first = plan.runs[0].fit
    store.put(fit.model_copy(update={"id": first}))
    try:
        found = estimate(plan, configs, store, (), fit.environment, 1)
    finally:
        (store.runs / f"{first}.json").unlink()
    assert (len(found.fits), found.finished) == (3, 1)
    assert compose(study.base).recipe.total_epochs == EPOCHS
