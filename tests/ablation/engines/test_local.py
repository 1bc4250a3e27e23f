"""The local engine: devices dealt out to jobs, and the same study started twice at once in one store."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vireid.ablation.engines.local import LocalEngine, cuda_devices
from vireid.core import child
from vireid.experiment.context import RunContext
from vireid.overrides import compose
from vireid.store import Store

SAYS_ITS_DEVICES = """
import json, os, sys
sys.stdout.write(json.dumps({"event": "error", "message": os.environ.get("CUDA_VISIBLE_DEVICES")}) + "\\n")
sys.stdout.flush()
sys.stdin.read(1)
"""


def devices_of_jobs(monkeypatch, tmp_path, *overrides, jobs):
    """What each of ``jobs`` jobs is told, all of them at work at once."""
    monkeypatch.setattr(child, "command", lambda *_: [sys.executable, "-c", SAYS_ITS_DEVICES])
    engine, told, all_here = LocalEngine(), [], threading.Event()

    def job(seed):
        run = RunContext(compose([*overrides, f"seed={seed}"]), Store(tmp_path))
        told.append(engine.run_job(run, ["fit"], lambda *_: None).reason)

    with ThreadPoolExecutor(jobs) as pool:
        for seed in range(1, jobs + 1):
            pool.submit(job, seed)
            while len(engine._processes) < seed:
                all_here.wait(0.01)
        for process in tuple(engine._processes):
            process.stdin.close()
    return sorted(told, key=str), engine


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ["0", "0", "3", "5"]),
        (["runtime.processes=2"], ["0,3", "0,3", "3,5", "5,0"]),
        (["runtime.device=cuda:1"], ["0, 3,5"] * 4),
        (["runtime.device=cpu"], ["0, 3,5"] * 4),
    ],
)
def test_jobs_get_the_devices_that_fewest_others_are_on(monkeypatch, tmp_path, overrides, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 3,5")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    told, engine = devices_of_jobs(monkeypatch, tmp_path, *overrides, jobs=4)
    assert told == expected
    assert not +engine._jobs_on  # all are free again


@pytest.mark.parametrize(
    ("named", "count", "devices"),
    [("", 0, []), ("-1", 0, []), ("2", 1, ["2"]), ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]), ("0,-1,1", 1, ["0"])],
)
def test_devices_are_those_that_cuda_takes_of_the_named(monkeypatch, named, count, devices):
    """It stops reading at the first that does not exist."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert cuda_devices() == devices


def test_jobs_that_name_their_device_count_too(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    engine = LocalEngine()
    with engine._devices(compose(["runtime.device=cuda:0"])) as named, engine._devices(compose([])) as dealt:
        assert (named, dealt) == ({}, {"CUDA_VISIBLE_DEVICES": "1"})


def test_where_the_environment_names_none_all_there_are(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert cuda_devices() == ["0", "1"]


@pytest.mark.check
@pytest.mark.timeout(600)
def test_a_study_started_twice_runs_each_fit_once(studies):
    study = studies.write()
    drivers = [studies.start(study, "--jobs", "1"), studies.start(study, "--jobs", "1")]
    ends = [studies.finish(driver) for driver in drivers]
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    said = "".join(end.stderr for end in ends)
    for cell in ("baseline", "one=on"):
        assert len(re.findall(rf"fit of {cell}, seed 1: done in", said)) == 1, said
        assert len(re.findall(rf"fit of {cell}, seed 1: on record", said)) == 1, said
    assert not list((studies.folder / "store/leases").glob("*.lease"))
