"""Records that come back: one clear message per fault, merged whole, nothing replaced."""

import json

import pytest

from tests.bundle.conftest import QUICK
from vireid.bundle.device.record import digest_of, run_id
from vireid.bundle.write import add_records, read_records
from vireid.core.errors import UserError
from vireid.core.records import CostRecord, LatencyRecord
from vireid.store import Store


@pytest.fixture(scope="module")
def measured(small_zip, tmp_path_factory):
    """Content of a record file with two records."""
    import shutil

    from tests.bundle.conftest import Bundle

    folder = tmp_path_factory.mktemp("measured")
    shutil.unpack_archive(small_zip, folder)
    done = Bundle(folder / "small").run(*QUICK, "--out", "record.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "record.json").read_text())


@pytest.fixture
def given(measured, tmp_path):
    """Writes a copy of the file after a change."""

    def write(change=lambda content, entry: None):
        content = json.loads(json.dumps(measured))
        change(content, content["records"][0])
        file = tmp_path / "given.json"
        file.write_text(json.dumps(content))
        return file

    return write


def _seal(entry):
    entry["digest"] = digest_of(entry["record"])


def test_records_are_added_once(given, tmp_path):
    store, records = Store(tmp_path / "store"), read_records(given())
    first = add_records(store, records)
    assert [len(part) for part in (first.new, first.known, first.refused)] == [2, 0, 0]
    assert first.without_cost == first.new
    assert sorted(r.id for r in store.records()) == sorted(r.id for r in records)
    assert all(isinstance(record, LatencyRecord) for record in store.records())
    again = add_records(store, records)
    assert [len(part) for part in (again.new, again.known, again.refused)] == [0, 2, 0]


def test_a_graph_that_a_cost_record_names_is_known(given, tmp_path, pytestconfig):
    store, records = Store(tmp_path / "store"), read_records(given())
    cost = json.loads((pytestconfig.rootpath / "tests/historic_records/v1-cost.json").read_text())
    store.put(CostRecord.model_validate({**cost, "artefact": records[0].artefact}))
    assert add_records(store, records).without_cost == []


def test_another_record_of_the_same_id_is_refused_and_the_old_one_stays(given, tmp_path):
    store = Store(tmp_path / "store")
    add_records(store, read_records(given()))

    def measured_again(content, entry):
        entry["record"]["seconds"] = [1.0, 2.0, 3.0]
        _seal(entry)

    added = add_records(store, read_records(given(measured_again)))
    assert [len(part) for part in (added.new, added.known, added.refused)] == [0, 1, 1]
    kept = store.get(added.refused[0].id)
    assert kept is not None
    assert kept.seconds != [1.0, 2.0, 3.0]


def test_a_failed_measurement_is_kept_once_as_an_attempt(given, tmp_path):
    def failed(content, entry):
        entry["record"].update(status="failed", reason="features differ", seconds=[])
        _seal(entry)
        del content["records"][1:]

    store, records = Store(tmp_path / "store"), read_records(given(failed))
    assert len(add_records(store, records).new) == 1
    assert len(add_records(store, records).known) == 1
    assert [record.reason for record in store.failures()] == ["features differ"]
    assert list(store.records()) == []


def _as_fit(content, entry):
    entry["record"]["kind"] = "fit"


def _other_id(content, entry):
    entry["record"]["id"] = "0" * 12
    _seal(entry)


def _other_threads(content, entry):
    entry["record"]["threads"] = 64
    _seal(entry)


def _other_machine(content, entry):
    entry["record"]["environment"]["device"]["cpu"] = "Faster One"
    _seal(entry)


def _other_specification(content, entry):
    entry["specification"]["artefact"] = "f" * 12
    entry["record"]["id"] = run_id(entry["specification"])
    _seal(entry)


def _faster(content, entry):
    entry["record"]["seconds"] = [second / 2 for second in entry["record"]["seconds"]]


def _unknown_key(content, entry):
    entry["record"]["secnds"] = []


def _newer(content, entry):
    content["version"] = 3


def _of_others(content, entry):
    content["format"] = "pytest-benchmark"


def _no_digest(content, entry):
    del entry["digest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_as_fit, "record 1: of kind 'fit'; devices make latency records alone"),
        (_other_id, "its id 000000000000 does not match its specification"),
        (_other_threads, "its threads is not the one that its id"),
        (_other_machine, "its device is not the one that its id"),
        (_other_specification, "its artefact is not the one that its id"),
        (_faster, "was changed after it was made"),
        (_unknown_key, "secnds.*did you mean 'seconds'"),
        (_newer, "version 3 of record files, and this vireid reads 1 to 2"),
        (_of_others, "not a record file of a bundle"),
        (_no_digest, "has no specification, digest, record"),
    ],
)
def test_faults_are_named(given, change, words):
    with pytest.raises(UserError, match=words) as caught:
        read_records(given(change))
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "cut.json").write_text('{"format": "vir')
    with pytest.raises(UserError, match=r"cut\.json: not JSON"):
        read_records(tmp_path / "cut.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.json: not JSON"):
        read_records(tmp_path / "bytes.json")
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        read_records(tmp_path / "none.json")
