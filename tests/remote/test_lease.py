"""Leases in stores behind URLs: one of several holds one, and what its last owner made is there for the next."""

import json
import logging
import socket
import subprocess
import sys
import time

import pytest

from vireid.core.errors import UserError
from vireid.remote import lease as module
from vireid.remote.copy import RemoteCopy
from vireid.remote.files import RemoteFiles
from vireid.remote.lease import RemoteLease
from vireid.store import Store


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)


def file_of(tmp_path):
    return tmp_path / "bucket" / "runs" / "leases" / "fit-1.lease"


def held_elsewhere(tmp_path, **words):
    """Another machine's process has it."""
    content = {"token": "another's", "beat": 1, "pid": 7, "began": 1.0, "host": "far", "processes": ""} | words
    file_of(tmp_path).parent.mkdir(parents=True, exist_ok=True)
    file_of(tmp_path).write_text(json.dumps(content))


def test_the_next_owner_finds_what_the_last_made(machine, trained):
    one, two = machine("one"), machine("two")
    first, second = Store(one.root).lease("fit-1"), Store(two.root).lease("fit-1")
    assert isinstance(first, RemoteLease)
    assert first.take()
    assert not second.take()
    assert second.owner().endswith(f" on {socket.gethostname()}")
    trained(one)
    first.release()
    assert second.take()
    assert Store(two.root).get("a" * 12) is not None
    first.release()  # is not its any more
    assert not first.take()
    second.release()
    assert first.take()
    first.release()


def test_looks_are_requests_and_come_seldom(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60.0)
    held_elsewhere(tmp_path)
    lease, looks = RemoteLease(machine("one"), "fit-1"), []
    create = RemoteFiles.create
    monkeypatch.setattr(RemoteFiles, "create", lambda *given: [looks.append(1), create(*given)][1])
    assert not any(lease.take() for _ in range(5))
    assert len(looks) == 1


def test_a_dead_process_of_this_machine_loses_it_at_once(machine, tmp_path):
    words = "import json; from vireid.core.lease import this_process; print(json.dumps(this_process()))"
    child = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    held_elsewhere(tmp_path, **json.loads(child.stdout))
    lease = RemoteLease(machine("one"), "fit-1")
    assert lease.take()
    lease.release()


def test_another_machines_process_loses_it_when_it_has_been_silent(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STALE_SECONDS", 0.3)
    held_elsewhere(tmp_path)
    lease = RemoteLease(machine("one"), "fit-1")
    assert not lease.take()
    time.sleep(0.2)
    held_elsewhere(tmp_path, beat=2)
    assert not lease.take()
    time.sleep(0.2)
    assert not lease.take()  # it has spoken since
    time.sleep(0.2)
    assert lease.take()
    lease.release()


def test_its_owner_speaks_and_falls_silent_when_it_has_lost_it(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STALE_SECONDS", 0.2)
    lease = RemoteLease(machine("one"), "fit-1")
    assert lease.take()
    first = file_of(tmp_path).read_text()
    time.sleep(0.3)
    assert json.loads(file_of(tmp_path).read_text())["beat"] > json.loads(first)["beat"]
    held_elsewhere(tmp_path)
    time.sleep(0.2)
    lease.release()
    assert json.loads(file_of(tmp_path).read_text())["token"] == "another's"


def test_of_two_who_take_over_at_once_one_gives_way(machine, tmp_path, monkeypatch):
    """The other removes what the one has just created, and creates its own."""
    monkeypatch.setattr(module, "STALE_SECONDS", 0.0)
    held_elsewhere(tmp_path)
    lease = RemoteLease(machine("one"), "fit-1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: held_elsewhere(tmp_path, token="the other"))
    assert not lease.take()


def test_a_store_that_is_away_keeps_nothing_from_its_record(machine, trained, monkeypatch, caplog):
    copy = machine("one")
    lease = RemoteLease(copy, "fit-1")
    assert lease.take()
    trained(copy)

    def away(self, progress):
        raise UserError("nobody there")

    monkeypatch.setattr(RemoteCopy, "push", away)
    with caplog.at_level(logging.WARNING):
        lease.release()
    assert "nobody there" in caplog.text
    assert Store(copy.root).get("a" * 12) is not None


def test_a_network_that_is_away_for_a_moment_ends_no_study(machine, monkeypatch, caplog):
    lease, away = RemoteLease(machine("one"), "fit-1"), [True]
    create = RemoteFiles.create

    def sometimes(*given):
        if away[0]:
            raise UserError("the cable is out")
        return create(*given)

    monkeypatch.setattr(RemoteFiles, "create", sometimes)
    with caplog.at_level(logging.WARNING):
        assert not lease.take()
    assert "the cable is out" in caplog.text
    away[0] = False
    assert lease.take()
    lease.release()
    away[0] = True
    assert not lease.take()
    monkeypatch.setattr(module, "STALE_SECONDS", 0.0)
    with pytest.raises(UserError, match="the cable is out"):
        lease.take()


def test_a_lease_that_is_just_being_written_is_held(machine, tmp_path):
    held_elsewhere(tmp_path)
    file_of(tmp_path).write_text("")
    assert not RemoteLease(machine("one"), "fit-1").take()
