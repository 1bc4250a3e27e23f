"""Leases: one of several holds one, the dead lose theirs, and whoever lost one does not give it away."""

import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from vireid.core.lease import Lease


@pytest.fixture
def path(tmp_path):
    return tmp_path / "leases" / "fit.lease"


def _held_by(path, *, host=None, pid=None, began=None):
    """A lease that another process took, as its file says; told from this machine's by its host alone."""
    assert Lease(path).take()
    content = json.loads(path.read_text()) | {"token": "another's"}
    path.write_text(json.dumps(content | {k: v for k, v in (("host", host), ("pid", pid), ("began", began)) if v}))


def test_one_holds_it_until_it_is_released(path):
    one, other = Lease(path), Lease(path)
    assert one.take()
    assert not other.take()
    assert other.owner().startswith(f"process {os.getpid()} on ")
    one.release()
    assert other.take()
    one.release()  # is not its any more
    assert not one.take()


def test_of_many_at_once_one_takes_it(path):
    begin, taken = threading.Barrier(12), []

    def try_it():
        lease = Lease(path)
        begin.wait()
        taken.append(lease.take())

    threads = [threading.Thread(target=try_it) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 11 + [True]


def test_of_many_at_once_one_takes_over_from_a_dead_process(path):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    _held_by(path, pid=int(child.stdout), began=1.0)
    leases = [Lease(path) for _ in range(8)]
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda lease=lease: taken.append(lease.take())) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 1


def test_a_number_that_another_process_has_now_says_nothing(path):
    _held_by(path, began=psutil.Process().create_time() - 1000)
    assert Lease(path).take()


def test_another_machines_is_taken_over_when_nobody_touches_it_any_more(path):
    _held_by(path, host="elsewhere")
    lease = Lease(path, stale_seconds=0.3)
    assert not lease.take()  # however old it says it is: clocks differ
    os.utime(path, (1, 1))
    assert not lease.take()
    time.sleep(0.2)
    os.utime(path, (2, 2))  # its owner lives
    time.sleep(0.2)
    assert not lease.take()
    time.sleep(0.35)
    assert lease.take()


def test_a_file_that_says_nothing_is_taken_over_in_time(path):
    path.parent.mkdir()
    path.touch()
    lease = Lease(path, stale_seconds=0.1)
    assert not lease.take()
    time.sleep(0.15)
    assert lease.take()


def test_who_holds_it_touches_it_and_who_lost_it_leaves_it_alone(path):
    lease = Lease(path, stale_seconds=0.12)
    assert lease.take()
    os.utime(path, (1, 1))
    time.sleep(0.1)
    assert path.stat().st_mtime > 1
    path.write_text(json.dumps({"token": "another's"}))
    os.utime(path, (1, 1))
    time.sleep(0.1)
    assert path.stat().st_mtime == 1
    lease.release()
    assert path.is_file()
