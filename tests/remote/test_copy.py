"""Stores behind URLs: what one machine makes is another's, the first record stays, and nothing is lost on the way."""

import json
import logging
import os
import subprocess
import sys

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from vireid.core.errors import UserError
from vireid.remote.copy import RemoteCopy, copy_at, silent, store_folder
from vireid.store import Store


def places(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_one_machine_makes_is_anothers(machine, trained, tmp_path):
    here = machine("one")
    record = trained(here).get("a" * 12)
    seen = []
    assert here.push(lambda *event: seen.append(event)) == 3
    assert seen == [(f"sending to {here.url}", 3, 3)]
    assert here.push(silent) == 0
    run = "runs/" + "a" * 12
    assert places(tmp_path / "bucket" / "runs") == [f"{run}.json", f"{run}/job.log", f"{run}/model.safetensors"]

    there = machine("two")
    assert there.root != here.root
    assert places(there.root / "runs") == ["a" * 12 + ".json", "a" * 12 + "/job.log"]  # weights when asked for
    assert Store(there.root).get("a" * 12) == record
    assert (there.pull(silent), there.push(silent)) == (0, 0)
    assert Store(there.root).artefact("a" * 12, "model.safetensors").read_bytes() == b"w" * 99
    assert not Store(there.root).artefact("a" * 12, "other.bin").exists()
    assert there.push(silent) == 0


def test_records_are_sent_after_what_belongs_to_them(machine, trained, monkeypatch):
    copy, sent = machine("one"), []
    trained(copy)
    create, put = RemoteCopy.create, LocalFileSystem.put

    def noted(self, place, content):
        sent.append(place)
        return create(self, place, content)

    monkeypatch.setattr(RemoteCopy, "create", noted)
    monkeypatch.setattr(LocalFileSystem, "put", lambda self, here, there: [sent.extend(there), put(self, here, there)])
    copy.push(silent)
    assert [place.rpartition("/")[2] for place in sent] == ["job.log", "model.safetensors", "a" * 12 + ".json"]


def test_the_first_record_stays(machine, trained):
    one = machine("one")
    trained(one, seed=1)
    two = machine("two")
    store = trained(two, seed=2)
    one.push(silent)
    two.push(silent)
    assert store.get("a" * 12).seed == 2
    two.pull(silent)
    assert store.get("a" * 12).seed == 1
    assert (one.pull(silent), two.push(silent), two.pull(silent)) == (0, 0, 0)


def test_a_page_that_both_changed_stays_here_and_is_sent(machine):
    one, two = machine("one"), machine("two")
    page = "studies/s/report/index.html"
    for copy in (one, two):
        (copy.root / page).parent.mkdir(parents=True)
    (one.root / page).write_text("first")
    one.push(silent)
    two.pull(silent)
    assert (two.root / page).read_text() == "first"
    (two.root / page).write_text("of the second")
    (one.root / page).write_text("of the first, later")
    two.push(silent)
    one.pull(silent)
    assert (one.root / page).read_text() == "of the first, later"
    one.push(silent)
    two.pull(silent)
    assert (two.root / page).read_text() == "of the first, later"


def test_a_record_that_is_not_whole_yet_is_left_out_and_taken_later(machine, trained, tmp_path, caplog):
    one = machine("one")
    trained(one)
    one.push(silent)
    file = tmp_path / "bucket" / "runs" / "runs" / f"{'a' * 12}.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with caplog.at_level(logging.WARNING):
        two = machine("two")
    assert "is not whole yet" in caplog.text
    assert list(Store(two.root).records()) == []
    file.write_bytes(whole)
    assert two.pull(silent) == 1
    assert [record.id for record in Store(two.root).records()] == ["a" * 12]


class Broken(LocalFileSystem):
    """Answers nobody while ``away``."""

    protocol = "broken"
    cachable = False
    away = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("broken://"))

    def put(self, *args, **kwargs):
        if Broken.away:
            raise ConnectionError("nobody there\nand more")
        return super().put(*args, **kwargs)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    fsspec.register_implementation("broken", Broken, clobber=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Broken, "away", True)
    return f"broken://{tmp_path}/bucket"


def test_what_could_not_be_sent_is_sent_by_the_next_command(broken, trained, monkeypatch, tmp_path):
    copy = copy_at(store_folder(broken))
    trained(copy)
    with pytest.raises(
        UserError, match=rf"writing failed \(ConnectionError: nobody there\); .* is kept in {copy.root}$"
    ):
        copy.push(silent)
    assert places(tmp_path / "bucket") == []
    monkeypatch.setattr(Broken, "away", False)
    store_folder(broken)
    assert len(places(tmp_path / "bucket" / "runs")) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s4://bucket/runs", "unknown kind of URL 's4'; did you mean 's3'"),
        ("sftp://me:secret@host/runs", "the URL holds a password"),
        ("adl://account/runs", "a package is missing"),
    ],
)
def test_urls_that_mean_nothing_here(name, message, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message) as caught:
        store_folder(name)
    assert "secret" not in str(caught.value)


def test_a_folder_is_no_copy(tmp_path):
    assert store_folder(tmp_path) == tmp_path
    assert copy_at(tmp_path) is None


def test_a_command_takes_and_sends(url, tmp_path):
    """What others have sent is there, and what has appeared here is sent, whatever the command."""
    plan = tmp_path / "bucket" / "runs" / "studies" / "s" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{}")

    def vireid(*words, cache):
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / cache)}
        command = [sys.executable, "-c", "from vireid.cli import main; main()", *words, "--store", url]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = vireid("score", "--help", cache="one")
    assert done.returncode == 0
    done = vireid("results", "list", cache="one")
    assert (done.returncode, "no records" in done.stdout + done.stderr) == (0, True)
    (root,) = (tmp_path / "one" / "vireid" / "stores").iterdir()
    assert json.loads((root / ".remote.json").read_text())["url"] == url
    assert places(root / "studies") == ["s/plan.json"]
    (root / "studies" / "s" / "notes.txt").write_text("x")
    assert vireid("results", "list", cache="one").returncode == 0
    assert (plan.parent / "notes.txt").read_text() == "x"
