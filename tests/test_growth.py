"""The growth benchmark's own arithmetic and stores; it measures nothing here."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.growth.fit import growth
from benchmarks.growth.store import make_store, named
from vireid.core.collector import collector_spared
from vireid.core.records import EvaluationRecord
from vireid.report.records.deployment import StoredEvaluations
from vireid.store import Store


def test_exponent_and_its_error_are_those_of_a_regression_on_logarithms() -> None:
    seconds = {100: 1.2, 300: 1.9, 1000: 4.4, 3000: 9.0}
    line = stats.linregress(np.log(list(seconds)), np.log(list(seconds.values())))
    fitted = growth(seconds)
    assert fitted is not None
    assert fitted.exponent == pytest.approx(line.slope)
    assert fitted.error == pytest.approx(line.stderr)
    assert growth({100: 1.0}) is None


def test_a_made_store_is_linked_within_each_round(tmp_path: Path) -> None:
    committed = len([f for f in (Path(__file__).parents[1] / "results" / "runs").glob("*.json") if len(f.stem) == 12])
    store = Store(make_store(tmp_path / "store", committed + 200, ["shuffled"]))
    records = {record.id: record for record in store.records()}
    assert len(records) == committed + 200
    names = sorted(path.parent.name for path in store.root.glob("studies/*/plan.json"))
    assert {"shuffled", "shuffled_1"} <= set(names)
    for name in ("shuffled", "shuffled_1"):
        plan = json.loads((store.study(name) / "plan.json").read_bytes())
        assert set(named(plan)) <= records.keys()
        for run in plan["runs"]:
            assert {records[e].fit for e in run["evaluations"]} == {run["fit"]}  # type: ignore[union-attr]
    one, other = (json.loads((store.study(n) / "plan.json").read_bytes()) for n in ("shuffled", "shuffled_1"))
    assert set(named(one)).isdisjoint(named(other))

    every: dict[str, list[EvaluationRecord]] = {}
    for record in records.values():
        if isinstance(record, EvaluationRecord) and record.status == "ok" and record.source.kind == "measured":
            every.setdefault(record.fit, []).append(record)
    stored = StoredEvaluations(store)
    assert {fit: list(evaluations) for fit, evaluations in stored.items()} == every
    assert "000000000000" not in stored


def test_objects_are_set_aside_and_given_back() -> None:
    before = gc.get_freeze_count()  # whoever froze objects before keeps them so
    with collector_spared():
        inside = gc.get_freeze_count()
        assert inside > 0
        with collector_spared():
            assert gc.get_freeze_count() == inside
        assert gc.get_freeze_count() == inside
    assert gc.get_freeze_count() == before
