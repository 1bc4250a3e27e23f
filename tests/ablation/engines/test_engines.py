"""Engines by name, what they ask and refuse, and several drivers on one study."""

import sys
import threading
from collections import Counter

import pytest

from tests.tiny import TINY
from vireid.ablation.engines import ENGINES
from vireid.ablation.engines.base import Outcome
from vireid.ablation.engines.local import LocalEngine
from vireid.ablation.plan import make_plan
from vireid.ablation.run import run_study
from vireid.ablation.study import Study
from vireid.cli.study import _engine
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, FitRecord, now
from vireid.experiment.records import failed_fit, fit_fields
from vireid.store import Store


def _study(**more):
    return Study.model_validate(
        {
            "name": "spread",
            "title": "Spread",
            "base": list(TINY),
            "factors": {"ibn": {"none": ["model.ibn=none"], "a": ["model.ibn=a"]}},
            "design": "one_at_a_time",
            "seeds": [1, 2],
            "measure": {"cost": False, "latency": False, "explain": False},
            **more,
        }
    )


class Pretended(LocalEngine):
    """Writes the records of a fit without training it."""

    at_home = False

    def __init__(self, jobs, fail=None, wait=None):
        super().__init__()
        self.jobs, self._fail, self._wait = jobs, fail, wait

    def run_job(self, run, steps, progress, name="job"):
        self.jobs.append(run.ids.fit)
        if self._wait is not None:
            self._wait.wait(20)
        if self._fail == run.ids.fit:
            run.store.put(failed_fit(run, "diverged"))
            return Outcome("diverged", run.directory / "job.log")
        fields = fit_fields(run, now())
        run.store.put(FitRecord(status="ok", **fields))
        for protocol in run.config.evaluation.protocols:
            id_ = run.ids.evaluation(protocol)
            common = {key: fields[key] for key in ("data_kind", "environment", "components", "started", "ended")}
            run.store.put(EvaluationRecord(id=id_, status="ok", fit=fields["id"], protocol={}, **common))
        return Outcome(None, run.directory / "job.log")


def _together(study, store, *engines):
    plan, configs = make_plan(study)
    failures = [None] * len(engines)

    def drive(number):
        failures[number] = run_study(study, plan, configs, store, 1, engines[number])

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return plan, failures


def test_two_drivers_of_one_study_share_its_fits(tmp_path, monkeypatch):
    monkeypatch.setattr("vireid.ablation.run._POLL_SECONDS", 0.02)
    jobs, both = [[], []], threading.Barrier(2)
    plan, failures = _together(_study(), Store(tmp_path), *(Pretended(done, wait=both) for done in jobs))
    assert failures == [{}, {}]
    assert Counter(jobs[0] + jobs[1]) == dict.fromkeys((run.fit for run in plan.runs), 1)
    assert len(jobs[0]) == len(jobs[1]) == 2
    assert not list((tmp_path / "leases").glob("*.lease"))


def test_a_fit_that_fails_in_one_driver_is_reported_by_both_and_tried_once(tmp_path, monkeypatch):
    monkeypatch.setattr("vireid.ablation.run._POLL_SECONDS", 0.02)
    jobs, both = [[], []], threading.Barrier(2)
    broken = make_plan(_study(seeds=[1]))[0].runs[0].fit
    study = _study(seeds=[1])
    engines = [Pretended(done, fail=broken, wait=both) for done in jobs]
    _, failures = _together(study, Store(tmp_path), *engines)
    assert sorted(jobs[0] + jobs[1]).count(broken) == 1
    assert [list(failed) for failed in failures] == [["fit of baseline, seed 1"]] * 2
    assert all("diverged" in failed["fit of baseline, seed 1"] for failed in failures)


def test_a_driver_with_another_plan_is_refused_while_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("vireid.store._AGREE_SECONDS", 0.1)
    study, store, go = _study(seeds=[1]), Store(tmp_path), threading.Event()
    plan, configs = make_plan(study)
    jobs = []
    first = threading.Thread(target=run_study, args=(study, plan, configs, store, 1, Pretended(jobs, wait=go)))
    first.start()
    while not jobs:
        pass
    other = _study(seeds=[2])
    with pytest.raises(UserError, match="another vireid process is working on 'study-spread' with another plan"):
        run_study(other, *make_plan(other), store, 1, Pretended([]))
    go.set()
    first.join(60)
    assert run_study(other, *make_plan(other), store, 1, Pretended([])) == {}


def test_engines_are_found_by_name():
    assert isinstance(_engine("local", None, []), LocalEngine)
    with pytest.raises(UserError, match="unknown engine 'rai'; did you mean 'ray'"):
        _engine("rai", None, [])
    with pytest.raises(UserError, match="--engine local: address"):
        _engine("local", "10.0.0.1:6379", [])
    with pytest.raises(UserError, match="expected NAME=VALUE"):
        _engine("ray", None, ["memory_gib"])
    with pytest.raises(UserError, match=r"--engine ray: request\.memory_gib = .*much.*number"):
        _engine("ray", None, ["memory_gib=much"])
    assert ENGINES.load("local").at_home


@pytest.mark.parametrize(("engine", "package", "extra"), [("ray", "ray", "cluster"), ("slurm", "submitit", "slurm")])
def test_without_its_package_a_line_says_how_to_get_it(monkeypatch, engine, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=rf"needs the package '{package}', which is not installed: make install EXTRAS={extra}"
    ):
        _engine(engine, None, [])
