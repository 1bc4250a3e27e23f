"""The Slurm engine against a stand-in for Slurm's commands that really runs what is submitted, on this machine."""

import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.ablation.engines import slurm_stand_in
from tests.ablation.spread import JOBS, Studies
from tests.tiny import tiny
from vireid.ablation.engines.base import StoppedError
from vireid.ablation.engines.slurm import _Work
from vireid.cli.study import _engine
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.progress import silent
from vireid.store import Store

pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")


@dataclass
class Slurm:
    folder: Path

    def jobs(self) -> list[str]:
        return sorted((path.parent.name for path in self.folder.glob("*/state")), key=int)

    def script(self, job: str) -> str:
        return (self.folder / job / "script").read_text()

    def state(self, job: str) -> str:
        return (self.folder / job / "state").read_text()

    def runs(self, job: str) -> list[int]:
        """The process of each time that it was started."""
        file = self.folder / job / "runs"
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    def end(self, job: str, word: str) -> None:
        slurm_stand_in.end(self.folder / job, word)

    def worker(self, job: str, run: int = 0) -> psutil.Process:
        """The process at work of a job that was started for the ``run``-th time."""
        _until(lambda: len(self.runs(job)) > run)
        return _until(lambda: next((p for p in _below(self.runs(job)[run]) if JOBS in p.cmdline()), None))


def _below(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _until(what, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := what():
                return found
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    commands, folder = tmp_path / "bin", tmp_path / "slurm"
    commands.mkdir()
    folder.mkdir()
    for name in COMMANDS:
        call = shlex.join([sys.executable, slurm_stand_in.__file__, name])
        (commands / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_STAND_IN", str(folder))
    slurm = Slurm(folder)
    yield slurm
    for job in slurm.jobs():
        queued = folder / job / "queued"
        if queued.exists():
            slurm.end(job, "NODE_FAIL")
        _until(lambda queued=queued: not queued.exists())
        assert [pid for pid in slurm.runs(job) if psutil.pid_exists(pid)] == []


@pytest.fixture
def engine(slurm, monkeypatch):
    for name, seconds in (("_POLL_SECONDS", 0.1), ("_LOOK_SECONDS", 0.1), ("_SETTLED_SECONDS", 0.5)):
        monkeypatch.setattr(f"vireid.ablation.engines.slurm.{name}", seconds)
    with _engine("slurm", None, ["hours=0.01"]) as engine:
        yield engine
        engine.stop()


@pytest.fixture
def run(tmp_path):
    return RunContext(tiny(), Store(tmp_path / "store"))


class _Waiting(threading.Thread):
    """Whoever waits for a job, and what it gets."""

    def __init__(self, engine, run):
        super().__init__(daemon=True)
        self.outcome = self.error = None
        self._engine, self._run = engine, run
        self.start()

    def run(self):
        try:
            self.outcome = self._engine.run_job(self._run, ["fit"], silent)
        except Exception as error:
            self.error = error


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    studies = Studies(tmp_path_factory.mktemp("undisturbed"))
    done = studies.run(studies.write(cost=True))
    assert done.returncode == 0, done.stderr
    return studies.records()


@pytest.mark.check
def test_records_are_those_of_the_local_engine(slurm, studies, undisturbed):
    study = studies.write(cost=True, latency=True)
    requests = ["--request", "partition=main", "--request", "memory_gib=2", "--request", "gpus=1"]
    done = studies.run(study, "--engine", "slurm", "--jobs", "2", *requests)
    assert done.returncode == 0, done.stderr
    assert studies.records() == undisturbed
    assert re.search(r"cell 1 of 2 .*: wait in the queue", done.stderr)
    assert re.search(r"cell \d of 2 .*: train", done.stderr)
    scripts = [slurm.script(job) for job in slurm.jobs()]
    assert len(scripts) == 4
    for script in scripts:
        for line in ("partition=main", "mem=2GB", "gpus-per-node=1", "time=240", "requeue"):
            assert f"#SBATCH --{line}\n" in script
    assert ["#SBATCH --cpus-per-task=1\n" in script for script in scripts] == [True, True, False, False]
    assert ["#SBATCH --exclusive\n" in script for script in scripts] == [False, False, True, True]
    _until(lambda: {slurm.state(job) for job in slurm.jobs()} == {"COMPLETED"})
    latencies = [record for record in Store(studies.folder / "store").records() if record.kind == "latency"]
    assert "ok" in {record.status for record in latencies}


@pytest.mark.check
def test_a_job_that_runs_again_takes_up_from_its_checkpoint(slurm, studies):
    study = studies.write("recipe.epochs=60")
    driver = studies.start(study, "--engine", "slurm", "--only", "one=off")
    runs = studies.folder / "store/runs"
    _until(lambda: next(runs.glob("*/checkpoint.pt"), None))
    slurm.end("1", "requeue")
    slurm.worker("1", run=1)
    assert list(runs.glob("*/checkpoint.pt"))
    done = studies.finish(driver)
    assert done.returncode == 0, done.stderr
    assert (slurm.jobs(), len(slurm.runs("1"))) == (["1"], 2)
    said = next(runs.glob("*/job-slurm/1_0_log.out")).read_text()
    assert said.count('"phase": "train", "done": 1,') == 1, "it was trained from the start again"
    alone = studies.run(study, "--only", "one=off", store="alone")
    assert alone.returncode == 0, alone.stderr
    assert studies.records() == studies.records("alone")


@pytest.mark.check
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_cancels_what_is_in_the_queue(slurm, studies, jobs):
    driver = studies.start(studies.write(), "--engine", "slurm", "--jobs", jobs)
    for job in range(int(jobs)):
        slurm.worker(str(job + 1))
    driver.send_signal(signal.SIGINT)
    assert studies.finish(driver).returncode != 0
    assert len(slurm.jobs()) == int(jobs)
    _until(lambda: all(slurm.state(job).startswith("CANCELLED") for job in slurm.jobs()))
    assert not list((studies.folder / "store/leases").glob("*.lease"))


@pytest.mark.parametrize("state", ["NODE_FAIL", "OUT_OF_MEMORY"])
def test_a_job_that_is_lost_is_told_by_slurms_word(slurm, engine, run, state):
    waiting = _Waiting(engine, run)
    slurm.worker("1")
    slurm.end("1", state)
    waiting.join(60)
    assert waiting.outcome.killed
    assert waiting.outcome.reason == f"Slurm job 1 ended as {state}"
    assert waiting.outcome.log.is_file()


def test_a_worker_that_is_killed_is_no_answer(slurm, engine, run):
    waiting = _Waiting(engine, run)
    slurm.worker("1").kill()
    waiting.join(60)
    assert waiting.outcome.reason == "Slurm job 1 ended as FAILED"
    assert "killed by SIGKILL" in waiting.outcome.log.read_text()


def test_a_job_that_fails_for_a_reason_of_its_own_says_it(slurm, engine, tmp_path):
    run = RunContext(tiny("data=sysu", f"data.root={tmp_path / 'absent'}"), Store(tmp_path / "store"))
    outcome = engine.run_job(run, ["fit"], silent)
    assert not outcome.killed
    assert str(tmp_path / "absent") in outcome.reason
    assert outcome.log == run.directory / "job.log"
    _until(lambda: slurm.state("1") == "COMPLETED")


def test_a_job_that_its_node_does_not_understand_names_the_log(slurm, engine, tmp_path):
    work = _Work(tmp_path, {"no": "configuration"}, ("fit",), "job")
    outcome = engine._wait(engine._submit(work, tmp_path / "job-slurm", "name", 1, alone=False), silent)
    assert outcome.reason == "Slurm job 1 failed before its work began"
    assert "unknown key 'no'" in outcome.log.read_text()


def test_stopping_cancels_what_is_in_the_queue(slurm, engine, run):
    waiting = _Waiting(engine, run)
    slurm.worker("1")
    engine.stop()
    waiting.join(60)
    assert isinstance(waiting.error, StoppedError)
    _until(lambda: slurm.state("1").startswith("CANCELLED"))


def test_a_job_of_a_driver_that_was_killed_is_cancelled_by_the_next(slurm, engine, run):
    first = _Waiting(engine, run)
    slurm.worker("1")
    _Waiting(engine, run)
    first.join(60)
    assert first.outcome.reason == "Slurm job 1 ended as CANCELLED"
    slurm.worker("2")


def test_a_job_at_its_time_limit_goes_back_into_the_queue_three_times(slurm, engine, run):
    waiting = _Waiting(engine, run)
    for times in range(4):
        slurm.worker("1", times).parent().send_signal(signal.SIGUSR2)  # as Slurm does, 90 s before
    waiting.join(60)
    assert "timed-out too many times" in waiting.outcome.reason
    assert waiting.outcome.log == run.directory / "job.log"
    assert len(slurm.runs("1")) == 4


def test_what_is_missing_or_wrong_is_told_before_anything_runs(slurm, run, monkeypatch):
    with pytest.raises(UserError, match=r"--engine slurm: .*'partitoin'; did you mean 'partition'"):
        _engine("slurm", None, ["partitoin=main"])
    with pytest.raises(UserError, match=r"--engine slurm: request\.gpus = .*0\.5"):
        _engine("slurm", None, ["gpus=0.5"])
    with _engine("slurm", None, ["partition=nowhere"]) as engine, pytest.raises(UserError, match=r"refused.*nowhere"):
        engine.run_job(run, ["fit"], silent)
    (slurm.folder / "no-accounting").touch()
    with pytest.raises(UserError, match=r"accounting storage is disabled.*needs Slurm's accounting"):
        _engine("slurm", None, []).__enter__()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"sbatch, srun, squeue, sacct, scancel not found.*login node"):
        _engine("slurm", None, []).__enter__()
