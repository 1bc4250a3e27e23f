"""A disk that is full from the n-th write on: one message that names file and remedy, and the work goes on after."""

import builtins
import errno
import io
import os
import random
from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.explain.step import explain_step
from vireid.store import Store

POINTS = 8  # of all writes of a run, where the disk is tried to be full
WRITES = os.O_WRONLY | os.O_RDWR


class Disk:
    """Counts what is opened for writing, and flushed, under a folder; refuses all from a number on."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.writes, self.full_from = folder, 0, None
        self._open, self._os_open, self._fsync = io.open, os.open, os.fsync
        patch.setattr(builtins, "open", self.open)
        patch.setattr(io, "open", self.open)
        patch.setattr(os, "open", self.os_open)
        patch.setattr(os, "fsync", self.fsync)

    def open(self, file, mode="r", *arguments, **options):
        if set(mode) & set("wax+") and not isinstance(file, int):
            self._write(file)
        return self._open(file, mode, *arguments, **options)

    def os_open(self, path, flags, *arguments, **options):
        if flags & WRITES:
            self._write(path)
        return self._os_open(path, flags, *arguments, **options)

    def fsync(self, handle):
        self._write(f"/proc/self/fd/{handle}")
        self._fsync(handle)

    def _write(self, path):
        name = os.fspath(path)
        if not Path(name if isinstance(name, str) else name.decode()).resolve().is_relative_to(self.folder):
            return
        self.writes += 1
        if self.full_from is not None and self.writes >= self.full_from:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(name))


def _all_steps(root):
    run = RunContext(tiny(), Store(root))
    fit = fit_step(run)
    metrics = [record.metrics for record in evaluate_step(run)]
    explain_step(run)
    return [[{k: v for k, v in epoch.items() if "second" not in k} for epoch in fit.curves], metrics]


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_at_any_write_is_a_message_and_loses_nothing(tmp_path, monkeypatch):
    disk = Disk(tmp_path, monkeypatch)
    undisturbed = _all_steps(tmp_path / "undisturbed")
    writes, draw, without_remedy = disk.writes, random.Random(1), []
    assert writes > 100
    for number in [*sorted(draw.sample(range(1, writes + 1), POINTS - 1)), writes]:
        root = tmp_path / str(number)
        disk.writes, disk.full_from = 0, number
        try:
            _all_steps(root)
        except UserError as error:
            if str(root) not in str(error) or "the disk is full; free some space" not in str(error):
                without_remedy.append(f"write {number}: {error}")
        except OSError as error:
            without_remedy.append(f"write {number}: {error!r}")
        disk.full_from = None
        assert all(record.status == "ok" for record in Store(root).records())
        assert _all_steps(root) == undisturbed, f"after a disk that was full at write {number}"
    assert without_remedy == []
