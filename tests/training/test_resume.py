from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.errors import UserError
from vireid.training.checkpoint import Checkpoint, Progress, _replace, discard_checkpoint
from vireid.training.loop import fit
from vireid.weighting.config import DWAConfig
from vireid.weighting.dwa import DynamicWeightAverage

BASE = {"id": 1.0, "centre": 0.1}
STAGES = [{"name": "a", "epochs": 3}, {"name": "b", "epochs": 1, "trainable": ["head.*"], "terms": ["id"]}]
CASES = {
    "adam, uncertainty": (recipe(), uncertainty),
    "sgd, dwa, accumulation, clipping": (
        recipe(optimiser={"name": "sgd", "lr": 0.05}, accumulation=2, clip_norm=1.0),
        lambda: DynamicWeightAverage(DWAConfig(), BASE),
    ),
    "adamw, bf16, channels last": (
        recipe(optimiser={"name": "adamw", "lr": 0.01}, precision="bf16", channels_last=True),
        uncertainty,
    ),
    "stages": (recipe(stages=STAGES), uncertainty),
}


class KilledError(Exception):
    """Stands for the end of the process."""


def train(directory, config, weighting, kill_after=None, key="k"):
    """Fit; ``kill_after`` is an epoch, or an epoch and a step in it."""

    def on_epoch(entry):
        if entry["epoch"] == kill_after:
            raise KilledError

    def progress(epoch, _epochs, step, _steps, _loss):
        if (epoch, step) == kill_after:
            raise KilledError

    model, loader, weights = TinyModel(), TinyLoader(), weighting()
    result = fit(
        model,
        loader,
        config,
        weights,
        seed=3,
        directory=directory,
        resume_key=key,
        on_epoch=on_epoch,
        progress=progress,
    )
    return model, weights, loader, result


def measured(curves):
    timed = ("seconds", "data_seconds", "images_per_second")
    return [{key: value for key, value in entry.items() if key not in timed} for entry in curves]


@pytest.mark.parametrize(
    ("case", "kill_after"),
    [
        pytest.param(case, kill_after, marks=[] if isinstance(kill_after, int) == (n % 2 == 0) else [pytest.mark.check])
        for n, case in enumerate(CASES)
        for kill_after in (2, (4, 3))
    ],
)
def test_resumed_run_is_bitwise_the_same(tmp_path, case, kill_after):
    config, weighting = CASES[case]
    model, weights, _, result = train(tmp_path / "whole", config, weighting)
    with pytest.raises(KilledError):
        train(tmp_path / "parts", config, weighting, kill_after=kill_after)
    again, again_weights, loader, resumed = train(tmp_path / "parts", config, weighting)
    finished = kill_after if isinstance(kill_after, int) else kill_after[0] - 1
    assert loader.opened == list(range(finished, 4))
    assert resumed.resumed_from == finished
    for a, b in ((model, again), (weights, again_weights)):
        left, right = a.state_dict(), b.state_dict()
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name].nan_to_num(), right[name].nan_to_num()) for name in left)
    assert measured(result.curves) == measured(resumed.curves)
    assert len(result.step_seconds) == len(resumed.step_seconds)
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "parts/model.safetensors").read_bytes()


@pytest.mark.check
def test_killed_process_goes_on(tmp_path):
    """SIGKILL in the middle of an epoch, twice, then to the end: the weights file is that of an undisturbed run."""
    config, weighting = CASES["adam, uncertainty"]
    train(tmp_path / "whole", config, weighting)
    script = (
        "import os, signal, sys, pathlib\n"
        "import tests.training.test_resume as t\n"
        "directory, epoch = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n"
        "def progress(e, _n, step, *_):\n"
        "    if (e, step) == (epoch, 3):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.fit(t.TinyModel(), t.TinyLoader(), t.recipe(), t.uncertainty(), seed=3, directory=directory,\n"
        "      resume_key='k', progress=progress)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for epoch, code in ((2, -signal.SIGKILL), (4, -signal.SIGKILL), (9, 0)):
        command = [sys.executable, "-c", script, str(tmp_path / "killed"), str(epoch)]
        assert subprocess.run(command, cwd=root, env=environment, check=False).returncode == code
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_dropout_matters_in_this_test(tmp_path):
    """The comparison above would notice an epoch with other dropout."""
    model, *_ = train(tmp_path / "a", *CASES["adam, uncertainty"])
    other = TinyModel()
    fit(other, TinyLoader(), recipe(), uncertainty(), seed=4, directory=tmp_path / "b", resume_key="k")
    assert not torch.equal(model.head.weight, other.head.weight)


def test_finished_run_trains_nothing_more(tmp_path):
    config, weighting = CASES["adam, uncertainty"]
    model, _, _, result = train(tmp_path, config, weighting)
    again, _, loader, repeated = train(tmp_path, config, weighting)
    assert loader.opened == []
    assert repeated.curves == result.curves
    assert repeated.step_seconds == result.step_seconds
    assert torch.equal(again.head.weight, model.head.weight)
    discard_checkpoint(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_checkpoint_of_another_run_is_refused(tmp_path):
    config, weighting = CASES["adam, uncertainty"]
    with pytest.raises(KilledError):
        train(tmp_path, config, weighting, kill_after=1, key="one")
    with pytest.raises(UserError, match="belongs to run one, not to two"):
        train(tmp_path, config, weighting, key="two")


def test_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read; delete it"):
        train(tmp_path, *CASES["adam, uncertainty"])


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/run cannot be written \(Not a directory\)"):
        train(tmp_path / "file" / "run", *CASES["adam, uncertainty"])


def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "k")
    checkpoint.save(Progress(epoch=1), {"model": {"w": torch.zeros(3)}})

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be written \(No space left on device\); free disk"):
        checkpoint.save(Progress(epoch=2), {"model": {"w": torch.ones(3)}})
    loaded = checkpoint.load()
    assert loaded is not None
    assert loaded[0].epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_really_full_disk(tmp_path):
    """torch wraps the failed write; the system's reason must come through."""

    def write(_file):
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
            torch.save({"w": torch.zeros(100_000)}, full)

    with pytest.raises(UserError, match="No space left on device"):
        _replace(tmp_path / "x.pt", write)
