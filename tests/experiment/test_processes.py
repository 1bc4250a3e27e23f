"""A fit by two processes of this machine, from its configuration to its record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import TINY, tiny
from vireid.ablation.engines.base import Outcome
from vireid.ablation.engines.local import LocalEngine, share_cores
from vireid.ablation.plan import make_plan
from vireid.ablation.run import run_study
from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core import child
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.experiment import processes
from vireid.experiment.context import RunContext
from vireid.experiment.fit import build_model, evaluate_step, fit_step
from vireid.experiment.identity import RunIds
from vireid.experiment.processes import check_processes
from vireid.experiment.records import threads_of
from vireid.experiment.reload import config_of_fit
from vireid.experiment.trace import remake
from vireid.overrides import compose
from vireid.store import Store

VIREID = (sys.executable, "-c", "from vireid.cli import main; main()")
TWO = ("runtime.processes=2", "runtime.batch_norm=per_process")
# Batch norms stand still, nothing is drawn, and IDKL's terms over pairs, graphs and joined logits of a batch are on.
# The rate is small, as a network without normalisation carries rounding on: at 0.003 the second step is another one.
SAME = (
    "augmentation=none",
    "model.weights.modality=0",
    "model.weights.pseudo_modality=0",
    "recipe.optimiser={name: sgd, lr: 0.00003}",
    "recipe.epochs=null",
    "recipe.stages=[{name: main, epochs: 2, trainable: ['*conv*', '*mask*', 'heads.*', '*purifier*']}]",
)


def test_one_process_keeps_its_id_and_the_number_of_several_is_part_of_it() -> None:
    fits = [RunIds(tiny(*more)).fit for more in ((), ("runtime.batch_norm=per_process",), TWO[:1], TWO)]
    assert fits[0] == fits[1] == "339733e91ef8"  # of before several processes could train one fit
    assert len(set(fits)) == 3
    assert len({RunIds(tiny(f"runtime.processes={n}")).cost for n in (1, 2)}) == 1


def test_settings_that_cannot_be_shared_out_are_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"processes=3 shares out the 4 identities .* set recipe.identities=3 or 6 "):
        tiny("runtime.processes=3")
    with pytest.raises(UserError, match="text is not gathered from several processes"):
        tiny("runtime.processes=2", "data.captions={captioner: Blip}")


def test_threads_are_those_of_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [threads_of(tiny("runtime.threads=null", f"runtime.processes={n}")) for n in (1, 2)] == [8, 4]
    assert threads_of(tiny("runtime.threads=3", "runtime.processes=2")) == 3


def test_too_few_devices_and_other_launchers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes(tiny(*TWO, "runtime.device=cpu"))
    with pytest.raises(UserError, match=r"device 'cuda:1' is a single one; set runtime.device=cuda"):
        check_processes(tiny(*TWO, "runtime.device=cuda:1"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"this machine shows 1; set runtime.processes=1"):
        check_processes(tiny(*TWO, "runtime.device=cuda"))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"WORLD_SIZE=4: .* start it once"):
        check_processes(tiny())


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Scripts in place of training processes; the context is that of ``tmp_path``."""
    begun: list[subprocess.Popen[bytes]] = []
    plain = subprocess.Popen

    def note(*arguments, **options):
        begun.append(plain(*arguments, **options))
        return begun[-1]

    monkeypatch.setattr(subprocess, "Popen", note)
    yield begun
    assert all(process.poll() is not None for process in begun), "a process was left behind"


def played(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    said = "import json, os, signal, sys, time\ndef say(**event): print(json.dumps(event), flush=True)\n"

    def command(_: str, request: str) -> list[str]:
        return [sys.executable, "-c", said + scripts[int(Path(request).stem)]]

    monkeypatch.setattr(child, "command", command)


LOST = "time.sleep(0.3); say(event='error', known=False, message='RuntimeError: Connection closed'); sys.exit(1)"
KILLED = "time.sleep(0.4); os.kill(os.getpid(), signal.SIGKILL)"
HANGS = "time.sleep(60)"
DIVERGED = "say(event='error', known=True, message='training diverged: lower the rate'); sys.exit(2)"


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        (
            (LOST, KILLED),
            r"process 2 of 2 was killed by SIGKILL, most likely for want of memory; the others were ended",
        ),
        ((HANGS, KILLED), r"process 2 of 2 was killed by SIGKILL.*\(its log: .*process-2.log\)$"),
        ((LOST, DIVERGED), r"^training diverged: lower the rate$"),
        ((HANGS, LOST), r"^process 2 of 2 failed: RuntimeError: Connection closed; the others were ended"),
        (("sys.exit(0)", "sys.exit(3)"), r"^process 2 of 2 ended with exit status 3 without a word"),
        (("sys.exit(0)", "sys.exit(0)"), r"^process 1 of 2 ended with exit status 0 without a word"),
    ],
)
def test_one_message_says_what_ended_the_fit_and_nothing_runs_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list, scripts: tuple[str, str], message: str
) -> None:
    played(monkeypatch, *scripts)
    with pytest.raises(UserError, match=message):
        processes.train_in_processes(RunContext(tiny(*TWO), Store(tmp_path)))
    assert len(started) == 2


def test_the_first_one_tells_of_progress_and_gives_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list
) -> None:
    result = {"curves": [], "step_seconds": [0.5], "seconds": 0.5, "peak_memory_bytes": 7, "device": "cpu"}
    main = "print('a library'); say(event='progress', phase='train', done=1, total=2, note='n'); say(event='result', "
    played(monkeypatch, f"{main}result={ {**result, 'resumed_from': None} })", "sys.exit(0)")
    told: list[tuple[str, int, int, str]] = []
    run = RunContext(tiny(*TWO), Store(tmp_path), lambda *event: told.append(event))
    fit = processes.train_in_processes(run)
    assert told == [("train", 1, 2, "n")]
    assert (fit.step_seconds, fit.peak_memory_bytes, fit.weights.parent) == ([0.5], 7, run.directory)


def test_an_engine_of_single_processes_refuses_several(tmp_path: Path) -> None:
    class Elsewhere:
        at_home = False

    config = tiny(*TWO)
    with pytest.raises(UserError, match=r"a job of this engine is one process on one device; .* --engine local"):
        run_study(None, None, {RunIds(config).fit: config}, Store(tmp_path), 1, Elsewhere())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("processes"))


def fitted(config: ExperimentConfig, store: Store) -> tuple[FitRecord, dict[str, torch.Tensor]]:
    run = RunContext(config, store)
    record = fit_step(run)
    return record, load_file(run.directory / "model.safetensors")


@pytest.mark.check
def test_two_processes_train_idkl_as_one(store: Store) -> None:
    """All of it: images, sampler, losses over the batch, dev scores, weights; with norms that stand still."""
    one, expected = fitted(tiny(*SAME, "recipe.evaluate_every=1"), store)
    two, weights = fitted(tiny(*SAME, "recipe.evaluate_every=1", *TWO[:1]), store)
    assert "processes" not in one.config
    assert two.config["processes"] == {"number": 2, "batch_norm": "synchronised"}
    initial = build_model(tiny(*SAME), 6).state_dict()
    names = [name for name, value in initial.items() if value.is_floating_point()]
    moved = [float((expected[name] - initial[name]).norm()) for name in names if "running" not in name]
    assert max(moved) > 3e-3
    for name in names:
        assert float((expected[name] - weights[name]).norm()) < 1e-5, name
    for ours, theirs in zip(two.curves, one.curves, strict=True):
        assert ours["terms"] == pytest.approx(theirs["terms"], rel=1e-4, abs=1e-7)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        assert ours["dev"]["mAP"] == pytest.approx(theirs["dev"]["mAP"], abs=0.02)
    assert len(one.step_seconds) == len(two.step_seconds)

    config = config_of_fit(two, [], None, store)
    assert (config.runtime.processes, RunIds(config).fit) == (2, two.id)
    made = remake(store, two).command
    assert made is not None
    assert "runtime.processes=2" in made
    assert evaluate_step(RunContext(config, store))[0].metrics["mAP"] > 0


def _members(parent: psutil.Process) -> dict[int, psutil.Process]:
    """The training processes below one, by their index."""
    members = {}
    for process in parent.children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "vireid.experiment.training_process" in line:
            members[int(Path(line[-1]).stem)] = process
    return members


@pytest.mark.check
def test_a_killed_process_ends_the_command_with_one_message_and_the_next_one_goes_on(tmp_path: Path) -> None:
    overrides = [*TINY, *TWO, "recipe.epochs=6"]
    environment = {**child.environment(1), "COLUMNS": "80"}
    arguments = [*VIREID, "train", *overrides, "--store", str(tmp_path)]
    command = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    run = RunContext(compose(overrides), Store(tmp_path))
    checkpoint, end = run.directory / "checkpoint.pt", time.monotonic() + 300
    while not checkpoint.is_file() and command.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert command.poll() is None, command.communicate()[1]
    members = _members(psutil.Process(command.pid))
    assert set(members) == {0, 1}
    members[1].send_signal(signal.SIGKILL)
    output, errors = command.communicate(timeout=120)
    assert command.returncode == 2, errors
    said = " ".join(errors.split())
    assert said.count("process 2 of 2 was killed by SIGKILL") == 1
    assert "Traceback" not in errors + output
    assert not psutil.wait_procs(members.values(), timeout=10)[1], "a process was left behind"
    (failure,) = run.store.runs.glob(f"{run.ids.fit}.failed-*.json")
    assert json.loads(failure.read_text())["reason"].startswith("process 2 of 2 was killed by SIGKILL")

    done = torch.load(checkpoint, weights_only=True)["epoch"]
    assert 1 <= done < 6
    told: list[int] = []

    def progress(phase: str, step: int, steps: int, note: str = "") -> None:
        if phase == "train":
            told.append(step)

    record = fit_step(RunContext(run.config, run.store, progress))
    assert len(record.curves) == 6
    assert min(told) > done * len(record.step_seconds) // 6  # taken up, not begun again
    whole = fit_step(RunContext(run.config, Store(tmp_path / "whole")))
    assert [entry["terms"] for entry in record.curves] == [entry["terms"] for entry in whole.curves]
    ours, theirs = (
        load_file(store.directory(run.ids.fit) / "model.safetensors")
        for store in (run.store, Store(tmp_path / "whole"))
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.check
def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    arguments = [*VIREID, "train", *TINY, *TWO, "recipe.epochs=50", "--store", str(tmp_path)]
    command = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=child.environment(1)
    )
    end = time.monotonic() + 300
    members: dict[int, psutil.Process] = {}
    while len(members) < 2 and command.poll() is None and time.monotonic() < end:
        members = _members(psutil.Process(command.pid))
        time.sleep(0.05)
    assert len(members) == 2
    command.kill()
    command.wait()
    assert not psutil.wait_procs(members.values(), timeout=30)[1]


def test_a_fit_takes_a_slot_and_a_share_of_the_cores_for_each_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs: list[tuple[int, int | None]] = []

    class Engine(LocalEngine):
        def run_job(self, run, steps, progress, name="job"):
            if "fit" in steps:
                jobs.append((len(running), run.config.runtime.threads))
                running.append(name)
                most.append(len(running))
                time.sleep(0.3)
                running.pop()
            return Outcome("nothing is trained here", tmp_path / "log")

    running: list[str] = []
    most: list[int] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    study = parse(
        Study,
        {
            "name": "several",
            "title": "Several processes",
            "base": [text for text in (*TINY, *TWO) if not text.startswith("runtime.threads")],
            "factors": {"rate": {"low": ["recipe.optimiser.lr=0.001"], "high": ["recipe.optimiser.lr=0.002"]}},
            "design": "full_factorial",
            "seeds": [1, 2],
            "measure": {"cost": False, "latency": False},
        },
        "test",
    )
    plan, configs = make_plan(study, [])
    failures = run_study(study, plan, configs, Store(tmp_path), 5, Engine())
    assert len(failures) >= 4
    assert {threads for _, threads in jobs} == {2}  # 8 cores, two fits of two processes
    assert max(most) == 2
    assert share_cores(tiny(*TWO, "runtime.threads=3"), 2).runtime.threads == 3
