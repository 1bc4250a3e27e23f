"""A fit by several processes of this machine: started, listened to, and ended together.

Each is a fresh interpreter (``vireid.experiment.training_process``) that ends with this process, however that ends. The
first one writes checkpoints and weights and tells of progress; this process alone writes records. When one of them
fails or is killed the others are ended too, and one message says what happened.
"""

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vireid.config import ExperimentConfig
from vireid.core import child
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.records import device_of, threads_of
from vireid.store import unwritable
from vireid.training import WEIGHTS
from vireid.training.contracts import FitResult

_GRACE_SECONDS = 2.0  # after a first word of failure, in which to learn whether another process was killed
_LAUNCHED = "WORLD_SIZE"  # by torchrun, accelerate and their kin


def check_processes(config: ExperimentConfig) -> None:
    """Find out before any work whether this machine has a device for each process.

    Raises:
        UserError: it has not, or the suite itself was started several times over.
    """
    if int(os.environ.get(_LAUNCHED) or 1) > 1:
        raise UserError(
            f"{_LAUNCHED}={os.environ[_LAUNCHED]}: this was started as one of several processes (torchrun, accelerate "
            f"launch): start it once, with {_LAUNCHED} unset; runtime.processes=N starts the others"
        )
    count, device = config.runtime.processes, device_of(config)
    if count == 1 or device.type == "cpu":
        return
    if str(device) != "cuda":
        raise UserError(
            f"runtime.processes={count}: device '{device}' is a single one; set runtime.device=cuda "
            "(CUDA_VISIBLE_DEVICES says which) or cpu, or runtime.processes=1"
        )
    if (there := torch.cuda.device_count()) < count:
        raise UserError(
            f"runtime.processes={count}: each takes a CUDA device of its own, and this machine shows {there}; set "
            f"runtime.processes={max(there, 1)}"
        )


def train_in_processes(run: RunContext) -> FitResult:
    """Train a configuration, whose images are there, in ``runtime.processes`` processes.

    Raises:
        UserError: one of them failed or was killed; all have ended then, and the last checkpoint is kept.
    """
    with tempfile.TemporaryDirectory(prefix="vireid-processes-") as folder, _started(run, Path(folder)) as processes:
        answer = _listen(processes, run)
    return FitResult(weights=run.directory / WEIGHTS, **answer)


@dataclass(eq=False)
class _Process:
    number: int  # from 1
    of: int
    log: Path
    popen: "subprocess.Popen[bytes]"
    error: tuple[bool, str] | None = field(default=None)  # what it said: whether it is a user's, and the message

    @property
    def name(self) -> str:
        return f"process {self.number} of {self.of}"


@contextmanager
def _started(run: RunContext, folder: Path) -> Iterator[list[_Process]]:
    count, config = run.config.runtime.processes, run.config.model_dump(mode="json")
    run.directory.mkdir(parents=True, exist_ok=True)
    processes: list[_Process] = []
    with ExitStack() as logs:
        try:
            for index in range(count):
                log, request = run.directory / f"process-{index + 1}.log", folder / f"{index}.json"
                asked = {"index": index, "count": count, "meeting": str(folder / "meeting")}
                request.write_text(json.dumps({**asked, "config": config, "store": str(run.store.root)}))
                errors = logs.enter_context(_opened(log))
                popen = subprocess.Popen(
                    child.command("vireid.experiment.training_process", str(request)),
                    stdin=subprocess.PIPE,  # closes with this process, which ends the child
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**child.environment(threads_of(run.config)), **_membership(index, count)},
                    start_new_session=True,  # an interrupt of the terminal reaches this process alone
                )
                processes.append(_Process(index + 1, count, log, popen))
            yield processes
        finally:
            for process in processes:
                child.end(process.popen)


def _opened(log: Path) -> BinaryIO:
    try:
        return log.open("ab")
    except OSError as error:
        raise unwritable(log, error) from error


def _membership(index: int, count: int) -> dict[str, str]:
    """What accelerate reads."""
    return {
        "RANK": str(index),
        "LOCAL_RANK": str(index),
        _LAUNCHED: str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
    }


def _listen(processes: Sequence[_Process], run: RunContext) -> dict[str, Any]:
    """Pass on progress until all have ended; what the first one gives.

    Raises:
        UserError: one did not end well.
    """
    lines: queue.SimpleQueue[tuple[_Process, bytes | None]] = queue.SimpleQueue()
    for process in processes:
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    answer: dict[str, Any] | None = None
    failing: list[_Process] = []  # in the order in which they said or showed it
    running, deadline = len(processes), float("inf")
    while running and (left := deadline - time.monotonic()) > 0:
        try:
            process, line = lines.get(timeout=min(left, child.POLL_SECONDS))
        except queue.Empty:
            continue
        if line is None:
            running -= 1
            failed = process.popen.wait() != 0
        else:
            event = _event(line)
            if event["event"] == "progress":
                run.progress(event["phase"], event["done"], event["total"], event["note"])
            elif event["event"] == "result":
                answer = event["result"]
            if failed := event["event"] == "error":
                process.error = (event["known"], event["message"])
        if failed and process not in failing:
            failing.append(process)
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
    if failing or answer is None:
        raise UserError(_reason(failing or list(processes)))
    return answer


def _read(process: _Process, lines: "queue.SimpleQueue[tuple[_Process, bytes | None]]") -> None:
    assert process.popen.stdout is not None
    with process.popen.stdout as said:
        for line in said:
            lines.put((process, line))
    lines.put((process, None))


def _event(line: bytes) -> dict[str, Any]:
    """What a process said; a line that a library printed is no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return {"event": None}
    return event if isinstance(event, dict) and "event" in event else {"event": None}


def _reason(failing: Sequence[_Process]) -> str:
    """Why the fit failed: a process that was killed, else what a user can mend, else whatever was said first."""
    after = "the others were ended; the same command goes on after the last finished epoch"
    for process in failing:
        if (code := process.popen.poll()) is not None and code < 0:
            return f"{process.name} was {child.how_it_ended(code)}; {after} (its log: {process.log})"
    said = [process for process in failing if process.error is not None]
    for process in said:
        assert process.error is not None
        if process.error[0]:
            return process.error[1]
    for process in said:
        assert process.error is not None
        return f"{process.name} failed: {process.error[1]}; {after} (its log: {process.log})"
    process = failing[0]
    ended = child.how_it_ended(process.popen.wait())
    return f"{process.name} {ended} without a word; {after} (its log: {process.log})"
