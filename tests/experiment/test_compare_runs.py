"""Two runs compared from their records alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import EvaluationRecord, FitRecord, read_record
from vireid.experiment.compare import compare_runs
from vireid.store import Store

HISTORIC = Path(__file__).parents[1] / "historic_records"


def historic(kind):
    return json.loads((HISTORIC / f"v1-{kind}.json").read_text())


class Records:
    """A store with made-up fits and evaluations."""

    def __init__(self, root):
        self.store = Store(root)

    def fit(self, run):
        record = read_record(json.dumps(historic("fit") | {"id": run}), "test")
        assert isinstance(record, FitRecord)
        self.store.put(record)

    def evaluation(self, run, fit, mode="all", gain=0.0, fingerprint="f", queries=40):
        random = np.random.default_rng(0)
        identity = np.tile(random.integers(0, 10, queries), 2)
        ap = np.clip(0.5 * random.random(2 * queries) + gain, 0, 1)
        table = pd.DataFrame(
            {
                "trial": np.repeat([0, 1], queries),
                "query": [f"cam3/{i}.jpg" for i in range(queries)] * 2,
                "identity": identity,
                "camera": 3,
                "ap": ap,
                "inp": ap,
                "first_hit_rank": 1 + (5 * (1 - ap)).astype(int),
                "valid": True,
            }
        )
        file = f"{fit}/per_query-{run}.parquet"
        (self.store.runs / fit).mkdir(parents=True, exist_ok=True)
        table.sample(frac=1, random_state=len(run) + int(run[0], 16)).to_parquet(self.store.runs / file)
        content = historic("evaluation") | {
            "id": run,
            "fit": fit,
            "protocol": {"name": "sysu/official", "mode": mode},
            "metrics": {"mAP": float(ap.mean())},
            "per_query_file": file,
            "per_query_digest": file_digest(self.store.runs / file),
            "fingerprint": fingerprint,
        }
        record = read_record(json.dumps(content), "test")
        assert isinstance(record, EvaluationRecord)
        self.store.put(record)


@pytest.fixture
def records(tmp_path):
    made = Records(tmp_path)
    for fit in ("a" * 12, "b" * 12):
        made.fit(fit)
    made.evaluation("1" * 12, "a" * 12)
    made.evaluation("2" * 12, "b" * 12, gain=0.1)
    made.evaluation("3" * 12, "b" * 12, mode="indoor")
    return made


def test_fits_are_compared_under_the_protocols_that_both_have(records):
    (found,) = compare_runs(records.store, "aaa", "bbb")
    assert found.card["mode"] == "all"
    change = found.differences["mAP"]
    assert change.value == pytest.approx(found.second.metrics["mAP"] - found.first.metrics["mAP"]) == pytest.approx(0.1)
    assert change.excludes_zero  # every query gains alike, in whatever order the tables lie


def test_evaluations_are_compared_directly(records):
    (found,) = compare_runs(records.store, "111", "222")
    assert (found.first.id[0], found.second.id[0]) == ("1", "2")


def test_what_cannot_be_paired_is_refused(records):
    with pytest.raises(UserError, match="no protocol in common"):
        compare_runs(records.store, "111", "333")
    records.evaluation("4" * 12, "a" * 12, fingerprint="other")
    with pytest.raises(UserError, match="different images"):
        compare_runs(records.store, "222", "444")
    other = records.store.get("4" * 12)
    records.store.put(other.model_copy(update={"protocol": {**other.protocol, "gallery": 7}}))
    with pytest.raises(UserError, match="different images"):  # and not another protocol
        compare_runs(records.store, "222", "444")
    records.evaluation("5" * 12, "a" * 12, queries=39)
    with pytest.raises(UserError, match="same queries"):
        compare_runs(records.store, "222", "555")
    (records.store.runs / ("a" * 12) / f"per_query-{'1' * 12}.parquet").unlink()
    with pytest.raises(UserError, match="missing"):
        compare_runs(records.store, "111", "222")
