"""The index of a large store: whatever happens to it or to the records, what it gives is what the records say."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from vireid.core import record_index
from vireid.core.record_row import RecordRow
from vireid.core.records import FitRecord, Record, read_record
from vireid.store import Store

HISTORIC = Path(__file__).parent / "historic_records"
COMMITTED = Path(__file__).parents[1] / "results"
LONG_AGO = time.time_ns() - 3600 * 10**9


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and an index however small the store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(record_index, "WORTHWHILE", 1)
    monkeypatch.setattr(record_index, "SETTLED_SECONDS", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a record of each of several kinds, indexed."""
    store = Store(tmp_path / "store")
    for file in sorted(HISTORIC.glob("*.json")):
        store.put(read_record(file.read_bytes(), file.name))
    time.sleep(0.02)  # the clock of the file system has moved on
    assert_true(store.root)
    return store.root


def rows_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the records that a new process, so to speak, reads to tell all rows."""
    read: list[str] = []

    def reading(content: bytes, where: str) -> Record:
        read.append(Path(where).name)
        return read_record(content, where)

    with monkeypatch.context() as patch:
        patch.setattr(record_index, "read_record", reading)
        list(Store(root).rows())
    return read


def assert_true(root: Path) -> None:
    """The index gives what the records say: rows, records, tables, and values of the very same types."""
    store = Store(root)
    records = [read_record(f.read_bytes(), f.name) for f in sorted(store.runs.glob("*.json")) if "failed" not in f.name]
    assert [(row.layout.paths, row.values) for row in store.rows()] == [
        (row.layout.paths, row.values) for row in map(RecordRow.of, records)
    ]
    assert [row.record().model_dump_json() for row in store.rows()] == [
        (record.model_copy(update={"curves": [], "step_seconds": []}) if isinstance(record, FitRecord) else record)
        .model_dump_json()
        for record in records
    ]  # fmt: skip
    expected = pd.json_normalize([record.model_dump(mode="json") for record in records], sep=".")
    table = Store(root).query()
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    for column in table:
        assert [type(value) for value in table[column]] == [type(value) for value in expected[column]]


def change(path: Path, **fields: object) -> None:
    """Write other content of the same size over a record's file, in place."""
    content = json.loads(path.read_text())
    size = path.stat().st_size
    text = json.dumps({**content, **fields}, indent=1, ensure_ascii=False)
    with path.open("r+b") as file:
        file.write(text.encode().ljust(size))
        file.truncate(size)
    assert path.stat().st_size == size


def a_fit(root: Path) -> Path:
    return next(f for f in sorted((root / "runs").glob("*.json")) if json.loads(f.read_text())["kind"] == "fit")


def test_rows_and_tables_of_the_committed_results_are_those_of_their_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "results" / "runs"
    runs.mkdir(parents=True)
    for number, file in enumerate(sorted((COMMITTED / "runs").glob("*.json"))):
        if number % 6 == 0:
            (runs / file.name).write_bytes(file.read_bytes())
            os.utime(runs / file.name, ns=(LONG_AGO, LONG_AGO))
    time.sleep(0.02)
    assert_true(runs.parent)
    assert rows_read(runs.parent, monkeypatch) == []
    assert_true(runs.parent)


def test_parts_are_put_together_again(root: Path) -> None:
    store = Store(root)
    for record, row in zip(store.records(), store.rows(), strict=True):
        written = record.model_dump(mode="json")
        for name, value in written.items():
            if isinstance(value, dict):
                assert row.part(name) == value
            elif name not in ("curves", "step_seconds"):
                assert row.get(name) == value
        if isinstance(record, FitRecord):
            assert (row.get("curves"), row.get("step_seconds")) == (len(record.curves), len(record.step_seconds))


def test_only_changed_records_are_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_read(root, monkeypatch) == []
    path = a_fit(root)
    store = Store(root)
    fit = store.get(path.stem)
    assert isinstance(fit, FitRecord)
    store.put(fit.model_copy(update={"seed": 77}))
    store.put(fit.model_copy(update={"id": "0" * 12}))
    assert sorted(rows_read(root, monkeypatch)) == sorted([path.name, "000000000000.json"])
    assert_true(root)
    (root / "runs" / "000000000000.json").unlink()
    assert rows_read(root, monkeypatch) == []
    assert_true(root)


def test_a_record_changed_in_place_with_size_and_time_kept_is_read_again(root: Path) -> None:
    path = a_fit(root)
    before = path.stat()
    change(path, seed=8)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_size == before.st_size
    assert Store(root).query("fit", id=path.stem)["seed"].tolist() == [8]
    assert_true(root)


def test_a_record_that_was_just_written_is_not_relied_upon(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_index, "SETTLED_SECONDS", 3600.0)
    path = a_fit(root)
    change(path, seed=8)
    assert path.name in rows_read(root, monkeypatch)
    assert rows_read(root, monkeypatch) == [path.name]  # within one tick a second change would show in no stamp


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "other tables", "a value", "a stamp's layout", "folder"])
def test_a_damaged_index_is_made_anew(root: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Store(root)._index.file
    content = file.read_bytes()
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "text":
        file.write_text("no database at all\n" * 1000)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        statement = {
            "other tables": "ALTER TABLE records RENAME COLUMN stamp TO seal",
            "a value": "UPDATE records SET content = replace(CAST(content AS TEXT), '0', '1')",
            "a stamp's layout": "UPDATE layouts SET paths = '[[\"id\"]]'",
        }[damage]
        with sqlite3.connect(file) as database:
            database.execute(statement)
        database.close()
    assert_true(root)
    assert_true(root)
    if damage != "folder":
        assert rows_read(root, monkeypatch) == []


def test_a_process_killed_while_it_writes_leaves_an_index_that_can_be_used(root: Path, cache: Path) -> None:
    file = Store(root)._index.file
    text = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "database.execute('UPDATE records SET content = zeroblob(200000), checksum = 0')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", text, str(file)], check=False)
    assert killed.returncode == -9
    assert_true(root)


def test_several_processes_at_once(root: Path, cache: Path) -> None:
    text = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vireid.core import record_index\n"
        "record_index.WORTHWHILE, record_index.SETTLED_SECONDS = 1, 0.0\n"
        "from vireid.store import Store\n"
        "fit = Store(Path(sys.argv[1])).get(sys.argv[2])\n"
        "for number in range(20):\n"
        "    store = Store(Path(sys.argv[1]))\n"
        "    store.put(fit.model_copy(update={'id': f'{sys.argv[3]}{number:011x}', 'seed': number}))\n"
        "    assert f'{sys.argv[3]}{number:011x}' in {row.id for row in store.rows()}\n"
    )
    command = [sys.executable, "-c", text, str(root), a_fit(root).stem]
    writers = [subprocess.Popen([*command, first]) for first in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(Store(root).rows())) >= 40
    assert_true(root)


def test_a_store_and_a_cache_that_cannot_be_written_are_read(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = sorted(path.name for path in root.rglob("*"))
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)  # for root, too, no folder can be made there
    assert_true(root)
    assert sorted(path.name for path in root.rglob("*")) == there


def test_a_small_store_has_no_index(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_index, "WORTHWHILE", 200)
    store = Store(tmp_path / "store")
    store.put(read_record((HISTORIC / "v1-fit.json").read_bytes(), "fixture"))
    assert_true(store.root)
    assert not cache.exists()
    assert list(Store(tmp_path / "nowhere").rows()) == []


def test_records_are_chosen_by_their_fields_and_the_others_not_read(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "runs" / "ffffffffffff.json").write_text("{")
    store = Store(root)
    chosen = list(store.records(lambda row: row.kind == "evaluation"))
    assert chosen == [record for record in Store(root).records() if record.kind == "evaluation"]
    assert chosen
    assert len(caplog.records) == 2  # once for each store
    assert "1 record is left out" in caplog.records[0].message
