"""Stores behind URLs: what one machine makes is another's, the first record stays, and nothing is lost on the way."""

import json
import logging
import os
import re
import subprocess
import sys
import threading

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from vireid.core.errors import UserError
from vireid.remote import copy as module
from vireid.remote.copy import copy_at, silent, store_folder
from vireid.remote.files import RemoteFiles
from vireid.store import Store


def places(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_one_machine_makes_is_anothers(machine, trained, tmp_path):
    here = machine("one")
    record = trained(here).get("a" * 12)
    seen = []
    assert here.push(lambda *event: seen.append(event)) == 3
    assert seen == [(f"sending to {here.files.url}", 3, 3)]
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


def test_records_are_sent_last_and_what_never_changes_first(machine, trained, monkeypatch):
    copy, sent = machine("one"), []
    trained(copy)
    create, put = RemoteFiles.create, RemoteFiles.put
    monkeypatch.setattr(RemoteFiles, "create", lambda *given: [sent.append(given[1]), create(*given)][1])
    monkeypatch.setattr(RemoteFiles, "put", lambda *given: [sent.extend(given[1]), put(*given)][1])
    copy.push(silent)
    assert [place.rpartition("/")[2] for place in sent] == ["model.safetensors", "job.log", "a" * 12 + ".json"]


@pytest.mark.parametrize("pulled", [False, True])
def test_a_run_that_two_have_made_is_whole_of_the_first(machine, trained, tmp_path, pulled):
    """``pulled``: its record came while the second was still at it, and the second's took its place."""
    one, two = machine("one"), machine("two")
    trained(one, seed=1)
    one.push(silent)
    if pulled:
        two.pull(silent)
    store = trained(two, seed=2)
    weights = store.directory("a" * 12) / "model.safetensors"
    weights.write_bytes(b"v" * 99)
    (weights.parent / "job.log").write_bytes(b"of the second")
    assert two.push(silent) == 0
    assert store.get("a" * 12).seed == 2
    two.pull(silent)
    assert store.get("a" * 12).seed == 1
    assert (weights.read_bytes(), (weights.parent / "job.log").read_bytes()) == (b"w" * 99, b"l")
    assert (one.pull(silent), one.push(silent), two.push(silent), two.pull(silent)) == (0, 0, 0, 0)
    assert (tmp_path / "bucket" / "runs" / "runs" / ("a" * 12) / "model.safetensors").read_bytes() == b"w" * 99


def test_weights_of_a_run_that_another_is_just_sending_stay_and_no_record_is_put_beside_them(
    machine, trained, tmp_path
):
    two, run = machine("two"), tmp_path / "bucket" / "runs" / "runs" / ("a" * 12)
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(b"of the first")
    trained(two)
    assert two.push(silent) == 0
    assert places(tmp_path / "bucket" / "runs") == [f"runs/{'a' * 12}/model.safetensors"]
    (run / "model.safetensors").write_bytes(b"w" * 99)  # computed alike to the last bit, as on machines of one kind
    assert two.push(silent) == 3


def test_failed_attempts_of_two_machines_are_both_kept(machine, fit):
    one, two = machine("one"), machine("two")
    for copy, reason in ((one, "of one"), (two, "of two")):
        Store(copy.root).put(fit(id="b" * 12, status="failed", reason=reason))
    one.push(silent)
    two.push(silent)
    one.pull(silent)
    two.pull(silent)
    for copy in (one, two):
        assert [failed.reason for failed in Store(copy.root).failures()] == ["of one", "of two"]


def test_without_its_mark_a_copy_loses_nothing_to_older_files(machine, trained):
    one, two = machine("one"), machine("two")
    trained(one)
    page = "studies/s/plan.json"
    (one.root / page).parent.mkdir(parents=True)
    (one.root / page).write_text("old")
    one.push(silent)
    two.pull(silent)
    (two.root / page).write_text("newer")
    two.push(silent)
    for mark in ("", "[]", "null", '{"files": 3}'):
        (one.root / ".remote.json").write_text(mark)
        with pytest.raises(UserError, match="is damaged"):
            copy_at(one.root)
        one = machine("one")
        assert (one.root / page).read_text() == "newer"
        assert copy_at(one.root).files.url == one.files.url


def test_nothing_lands_outside_a_copy(machine, tmp_path):
    bucket = tmp_path / "bucket" / "runs"
    for place in (
        "sitecustomize.py",
        "data/x.png",
        "leases/fit.lease",
        "runs/.hidden/x",
        "runs/x/a.pkl",
        "runs/y/ok.txt",
    ):
        (bucket / place).parent.mkdir(parents=True, exist_ok=True)
        (bucket / place).write_text("x")
    copy = machine("one")
    assert places(copy.root / "runs") == ["y/ok.txt"]
    assert not (copy.root / "sitecustomize.py").exists()
    for place in ("runs//tmp/evil", "/tmp/evil", "runs/../../x", "", "runs", "../runs/x"):
        assert not module._travels(place)


def test_weights_that_were_not_fetched_are_known_to_lie_there(machine, trained):
    trained(machine("one"))
    machine("one")
    store = Store(machine("two").root)
    assert not (store.directory("a" * 12) / "model.safetensors").exists()
    assert store.has_artefact("a" * 12, "model.safetensors")
    assert not store.has_artefact("a" * 12, "other.safetensors")


def test_of_many_at_once_one_creates_a_file(url):
    begin, made = threading.Barrier(8), []

    def create(number):
        files = RemoteFiles(url)
        begin.wait()
        made.append(files.create("runs/x.json", str(number).encode() * 1000))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert len(set(RemoteFiles(url).read("runs/x.json"))) == 1


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
    assert "is not whole and is left out" in caplog.text
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
        UserError, match=r"writing failed \(ConnectionError: nobody there\); .* goes on with what is finished$"
    ):
        copy.push(silent)
    assert places(tmp_path / "bucket") == [f"runs/{'a' * 12}/model.safetensors"]
    monkeypatch.setattr(Broken, "away", False)
    store_folder(broken)
    assert len(places(tmp_path / "bucket" / "runs")) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s4://bucket/runs", "unknown kind of URL 's4'; did you mean 's3'"),
        ("sftp://me:secret@host/runs", "the URL holds a password"),
        ("adl://account/runs", "a package is missing"),
        ("s3://", "names no place"),
        ("file:///", "names no place"),
        ("s3://[bad/x", "is no URL"),
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


def command(*words, url, cache):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    call = [sys.executable, "-c", "from vireid.cli import main; main()", *words, "--store", url]
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)


def test_a_command_takes_and_sends(url, tmp_path):
    """What others have sent is there, and what has appeared here is sent, whatever the command."""
    plan, cache = tmp_path / "bucket" / "runs" / "studies" / "s" / "plan.json", tmp_path / "one"
    plan.parent.mkdir(parents=True)
    plan.write_text("{}")
    done = command("results", "list", url=url, cache=cache)
    assert (done.returncode, "no records" in done.stdout + done.stderr) == (0, True)
    (root,) = (cache / "vireid" / "stores").iterdir()
    assert json.loads((root / ".remote.json").read_text())["url"] == url
    assert places(root / "studies") == ["s/plan.json"]
    (root / "studies" / "s" / "notes.txt").write_text("x")
    assert command("results", "list", url=url, cache=cache).returncode == 0
    assert (plan.parent / "notes.txt").read_text() == "x"


def test_a_command_whose_results_could_not_be_sent_did_not_end_well(tmp_path):
    url, page = "file:///proc/vireid/runs", tmp_path / "page.txt"
    page.write_text("x")
    code = f"""
import shutil, sys
from vireid import cli
from vireid.store import Store
def list_and_write(root):
    (root / "studies").mkdir()
    shutil.copy({str(page)!r}, root / "studies")
    return Store(root)
cli.opened = list_and_write
sys.argv = ["vireid", "results", "list", "--store", {url!r}]
cli.main()
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"(.*\n)*error: --store file:///proc/vireid/runs: writing failed .*\n", done.stderr)
    assert "Traceback" not in done.stderr
