"""Where a record comes from, and what sets two apart; on the committed records."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vireid.core.errors import UserError
from vireid.core.records import CostRecord, EvaluationRecord, FitRecord, LatencyRecord
from vireid.experiment.differences import ABSENT, changes, figures, flat
from vireid.experiment.identity import RunIds
from vireid.experiment.reload import protocol_mapping
from vireid.experiment.trace import find_record, planned_in, remake
from vireid.overrides import compose
from vireid.report.records.study import read_plan
from vireid.store import Store

STORE = Store(Path(__file__).parents[2] / "results")
STUDIES = sorted(path.parent.name for path in STORE.root.glob("studies/*/plan.json"))


def finished(study: str) -> FitRecord:
    runs = read_plan(STORE, study).runs
    return next(fit for run in runs if isinstance(fit := STORE.get(run.fit), FitRecord))


@pytest.mark.parametrize("study", STUDIES)
def test_the_command_of_a_fit_has_its_id(study: str) -> None:
    fit = finished(study)
    made = remake(STORE, fit)
    assert made.command is not None, made.remark
    program, command, *overrides = shlex.split(made.command)
    assert (program, command) == ("vireid", "train")
    assert RunIds(compose(overrides)).fit == fit.id
    assert study in [plan.name for plan, _ in planned_in(STORE, fit)]


def test_the_command_of_an_evaluation_names_its_fit_and_protocol() -> None:
    fit = finished("optimized_idkl")
    run = next(run for run in read_plan(STORE, "optimized_idkl").runs if run.fit == fit.id)
    for name in run.evaluations:
        record = STORE.get(name)
        assert isinstance(record, EvaluationRecord)
        command = shlex.split(remake(STORE, record).command or "")
        assert command[:3] == ["vireid", "evaluate", fit.id]
        assert protocol_mapping(command[3])["name"] == record.card.name


def test_costs_and_latencies_say_how_they_are_profiled() -> None:
    cost = next(r for r in STORE.records() if isinstance(r, CostRecord) and planned_in(STORE, r))
    command = shlex.split(remake(STORE, cost).command or "")
    assert RunIds(compose(command[2:])).cost == cost.id
    latency = next(r for r in STORE.records() if isinstance(r, LatencyRecord) and r.status == "ok" and not r.stages)
    made = remake(STORE, latency)
    assert made.command is not None
    assert made.command.endswith("--again")
    profile = compose(shlex.split(made.command)[2:-1]).profile
    assert [runtime.name for runtime in profile.runtimes] == [latency.runtime["name"]]
    assert (profile.batches, profile.threads) == ([latency.batch], [latency.threads])


def test_a_failed_attempt_is_found_where_there_is_no_result(tmp_path: Path) -> None:
    store, fit = Store(tmp_path), finished("optimized_idkl")
    failed = fit.model_copy(update={"status": "failed", "reason": "the loss is not finite"})
    store.put(failed)
    assert find_record(store, fit.id[:6]).reason == "the loss is not finite"
    store.put(fit)
    assert find_record(store, fit.id[:6]).status == "ok"
    with pytest.raises(UserError, match=r"run 'fff': no record matches.*`vireid results list`"):
        find_record(store, "fff")


def test_changes_name_dotted_keys_with_both_values() -> None:
    one, other = {"a": {"b": 1, "c": [1, 2]}, "d": {}}, {"a": {"b": 2, "c": [1, 2]}, "e": None}
    assert flat(one) == {"a.b": 1, "a.c": [1, 2], "d": {}}
    assert changes(one, other) == [("a.b", 1, 2), ("d", {}, ABSENT), ("e", ABSENT, None)]
    assert changes(one, one) == []


def test_scores_stand_side_by_side_with_their_difference() -> None:
    fits = [STORE.get(run.fit) for run in read_plan(STORE, "optimized_idkl").runs[:2]]
    one, other = (fit for fit in fits if isinstance(fit, FitRecord))
    numbers = figures(one, other, STORE)
    on_map = [figure for figure in numbers if figure.name == "mAP" and "file" not in figure.group]
    assert len(on_map) == 3, "one per protocol and re-ranking"
    for figure in on_map:
        assert figure.first is not None
        assert figure.second is not None
        assert figure.difference == pytest.approx(figure.second - figure.first)
        assert 0 < figure.first < 100
    assert {figure.name for figure in numbers if figure.group == "training"} >= {"time", "peak memory"}
    with pytest.raises(UserError, match="is a record of kind 'fit'"):
        figures(one, next(r for r in STORE.records() if isinstance(r, CostRecord)), STORE)


def test_a_student_says_which_teacher_it_needs_first(tmp_path: Path) -> None:
    student = next(
        record
        for record in STORE.records()
        if isinstance(record, FitRecord) and (record.config["model"].get("teacher") or {}).get("run")
    )
    teacher = student.config["model"]["teacher"]["run"]
    store = Store(tmp_path)
    store.put(student)
    assert f"first train fit {teacher}, whose weights it needs" in remake(store, student).remark
