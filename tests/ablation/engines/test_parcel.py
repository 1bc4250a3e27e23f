"""What a job takes along is what it needs, wherever that lay, and what it brings back overwrites no result."""

import json
import sys

import pytest

from tests.tiny import tiny
from vireid.ablation.engines.parcel import accept, pack, results, unpack
from vireid.core.errors import UserError
from vireid.core.records import FitRecord, now
from vireid.experiment.context import RunContext
from vireid.experiment.identity import RunIds
from vireid.experiment.records import failed_fit, fit_fields
from vireid.store import Store, write_atomically


def _send(run, steps, there, name="job"):
    parcel, files = pack(run, steps, name)
    return parcel, unpack(parcel, [file.read_bytes() for file in files], there / "job", there)


def _finish(run):
    record = FitRecord(status="ok", **fit_fields(run, now()))
    write_atomically(run.directory / "model.safetensors", b"weights")
    run.store.put(record)
    return record


def test_a_run_is_the_same_run_there_with_the_files_that_it_names(tmp_path):
    trunk = tmp_path / "here" / "trunk.safetensors"
    write_atomically(trunk, b"a trunk")
    here = RunContext(tiny(f"model.pretrained={trunk}"), Store(tmp_path / "store"))
    identity = here.ids.fit
    parcel, there = _send(here, ["fit"], tmp_path / "there")
    trunk.unlink()
    assert there.config.model.pretrained.read_bytes() == b"a trunk"
    assert there.config.model.pretrained.is_relative_to(tmp_path / "there")
    assert RunIds(there.config).fit == identity == parcel.fit


def test_records_and_weights_that_steps_read_are_there(tmp_path):
    start = RunContext(tiny("seed=1"), Store(tmp_path / "store"))
    record = _finish(start)
    run = RunContext(tiny("seed=1", "recipe.epochs=3", f'start_from="{record.id}"'), start.store)
    _, there = _send(run, ["fit", "evaluate"], tmp_path / "there")
    assert there.store.get(record.id) == record
    assert (there.store.directory(record.id) / "model.safetensors").read_bytes() == b"weights"
    _, profiled = _send(run, ["cost"], tmp_path / "elsewhere", "profile")
    assert not (profiled.store.directory(record.id) / "model.safetensors").exists()


def test_jobs_of_a_machine_share_its_images(tmp_path):
    for seed in (1, 2):
        run = RunContext(tiny(f"seed={seed}"), Store(tmp_path / "store"))
        parcel, files = pack(run, ["fit"], "job")
        there = unpack(parcel, [f.read_bytes() for f in files], tmp_path / f"job-{seed}", tmp_path / "scratch")
        (there.store.root / "data" / f"people-{seed}").mkdir()
    assert {path.name for path in (tmp_path / "scratch" / "data").iterdir()} == {"people-1", "people-2"}


def test_what_was_made_comes_back_and_what_was_sent_or_is_half_done_does_not(tmp_path):
    here = RunContext(tiny(), Store(tmp_path / "store"))
    parcel, there = _send(here, ["fit"], tmp_path / "there")
    record = _finish(there)
    for name in ("job.json", "checkpoint.pt", ".half.tmp"):
        write_atomically(there.directory / name, b"no result")
    write_atomically(there.directory / "job.log", b"second\n")
    made = results(parcel, there.store.root)
    assert list(made) == [f"{record.id}/job.log", f"{record.id}/model.safetensors", f"{record.id}.json"]

    write_atomically(here.directory / "job.log", b"first\n")
    accept(here, "job", made)
    assert here.store.get(record.id) == record
    assert (here.directory / "job.log").read_bytes() == b"first\nsecond\n"
    before = (here.store.runs / f"{record.id}.json").stat().st_mtime_ns
    accept(here, "job", made | {f"{record.id}/model.safetensors": b"others"})
    assert (here.store.runs / f"{record.id}.json").stat().st_mtime_ns == before
    assert (here.directory / "model.safetensors").read_bytes() == b"weights"
    parcel, _ = pack(here, ["fit", "evaluate"], "job")
    assert f"runs/{record.id}.json" in parcel.files


def test_failures_get_the_next_number_here(tmp_path):
    here = RunContext(tiny(), Store(tmp_path / "store"))
    here.store.put(failed_fit(here, "the first"))
    parcel, there = _send(here, ["fit"], tmp_path / "there")
    there.store.put(failed_fit(there, "the second"))
    accept(here, "job", results(parcel, there.store.root))
    assert [record.reason for record in here.store.failures()] == ["the first", "the second"]


def test_a_plug_in_travels_with_what_it_imports_beside_it(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "of_mine.py").write_text("import its_helper, json\nfrom vireid.models.agw import AGW as Mine\n")
    (folder / "its_helper.py").write_text("X = 1\n")
    (folder / "unrelated.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    run = RunContext(tiny("model={name: 'of_mine:Mine'}"), Store(tmp_path / "store"))
    parcel, there = _send(run, ["fit"], tmp_path / "there")
    modules = {name for name in parcel.files if name.startswith("modules/")}
    assert modules == {"modules/of_mine.py", "modules/its_helper.py"}
    assert str(there.store.root / "modules") in sys.path


def test_a_configuration_that_is_not_understood_there_is_refused(tmp_path):
    parcel, _ = pack(RunContext(tiny(), Store(tmp_path / "store")), ["fit"], "job")
    parcel.config["recipe"]["epoch"] = 3
    with pytest.raises(UserError, match="epoch"):
        unpack(parcel, [], tmp_path / "job", tmp_path)
    assert json.dumps(parcel.config)
