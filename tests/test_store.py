"""The store: atomic, honest about failures, and able to read what earlier versions wrote."""

import json
from pathlib import Path

import pytest

from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import EvaluationRecord, FitRecord, read_record
from vireid.store import Store, write_atomically

HISTORIC = sorted((Path(__file__).parent / "historic_records").glob("*.json"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _fit(**changes) -> FitRecord:
    record = read_record((HISTORIC[0].parent / "v1-fit.json").read_bytes(), "fixture")
    assert isinstance(record, FitRecord)
    return record.model_copy(update=changes)


@pytest.mark.parametrize("file", HISTORIC, ids=lambda file: file.stem)
def test_records_of_earlier_versions_stay_readable(file, store):
    record = read_record(file.read_bytes(), str(file))
    store.put(record)
    assert store.get(record.id) == record
    names = {"v1-cost", "v1-evaluation", "v1-evaluation-deployed", "v1-fit", "v1-latency", "v1-latency-isolated"}
    assert {f.stem for f in HISTORIC} == names


def test_failed_attempts_never_read_as_results(store):
    failed = _fit(status="failed", reason="loss is NaN")
    first, second = store.put(failed), store.put(failed)
    assert first != second
    assert store.get(failed.id) is None
    assert list(store.records()) == []
    assert len(list(store.failures())) == 2
    store.put(_fit())
    assert store.get(failed.id).status == "ok"


def test_query_flattens_and_filters(store):
    store.put(_fit())
    store.put(_fit(id="0" * 12, seed=9))
    assert len(store.query("fit")) == 2
    assert store.query("fit", seed=9)["id"].tolist() == ["0" * 12]
    assert store.query("fit", data__name="nothing").empty
    assert store.query("latency").empty


def test_find_takes_unique_prefixes(store):
    store.put(_fit())
    store.put(_fit(id="0" * 12))
    assert store.find("00").id == "0" * 12
    with pytest.raises(UserError, match="2 records match"):
        store.find("")
    with pytest.raises(UserError, match="no record matches"):
        store.find("ffffff0")


def test_unreadable_records_are_named(store):
    path = store.put(_fit())
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match=path.name):
        store.get(path.stem)


def test_broken_records_are_left_out_of_lists_with_one_line_and_still_raise_when_asked_for(store, caplog):
    good = _fit(id="000000000001")
    store.put(good)
    text = (store.runs / "000000000001.json").read_text()
    broken = {
        "000000000002": "{",
        "000000000003": text.replace('"kind": "fit"', '"kind": "dream"'),
        "000000000004": text.replace('"schema_version": 1', '"schema_version": 9'),
    }
    for name, content in broken.items():
        (store.runs / f"{name}.json").write_text(content)
    (store.runs / "000000000005.failed-1.json").write_text("{")
    assert list(store.records()) == list(store.records()) == [good]
    assert list(store.failures()) == []
    assert len(store.query("fit")) == 1
    first, second = (record.message for record in caplog.records)
    assert first.startswith("3 records are left out; the first: ")
    assert "000000000002.json: not a readable record" in first
    assert "move the file away or update vireid" in first
    assert second.startswith("1 record is left out; the first: ")
    for name in broken:
        with pytest.raises(UserError, match=f"{name}.json: not a readable record"):
            store.get(name)


def test_per_query_tables_are_checked_against_their_digest(store):
    import pandas as pd

    record = read_record((HISTORIC[0].parent / "v1-evaluation.json").read_bytes(), "fixture")
    assert isinstance(record, EvaluationRecord)
    file = store.runs / record.per_query_file
    with pytest.raises(UserError, match="missing"):
        store.per_query(record)
    file.parent.mkdir(parents=True)
    pd.DataFrame({"ap": [1.0]}).to_parquet(file)
    with pytest.raises(UserError, match="differs from the digest"):
        store.per_query(record)
    good = record.model_copy(update={"per_query_digest": file_digest(file)})
    assert store.per_query(good)["ap"].tolist() == [1.0]


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a" / "file.json"
    write_atomically(file, "first")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        write_atomically(file, "second")
    assert file.read_text() == "first"
    assert [p.name for p in file.parent.iterdir()] == ["file.json"]


def test_a_second_process_gets_a_message(store):
    with store.lock("study-x"), pytest.raises(UserError, match="another vireid process"), store.lock("study-x"):
        pass
    with store.lock("study-x"):
        pass
