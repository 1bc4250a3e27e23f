"""One measurement in a process of its own, so that nothing which ran before it has a part in it.

The child is a fresh interpreter, started with its number of threads in the environment, held to its cores and memory
before it imports PyTorch, and killed when its time is over. However it ends, the caller gets an answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.profiling.limits import Limit, LimitRefusedError, here
from vireid.profiling.memory_group import MemoryGroup
from vireid.profiling.sampling import THREAD_VARIABLES

LOG_CHARACTERS = 400  # of a dead child's last words that go into the reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an isolated task."""

    status: str  # ok, failed, skipped (a limit that cannot be applied here)
    reason: str | None
    result: dict[str, Any]  # what the task returned; empty unless ok
    affinity: list[int] | None  # cores that it was held to
    limit: dict[str, Any] | None  # name and parts of the limit as it was applied
    notes: list[str]


def run_isolated(
    task: str,
    arguments: Mapping[str, Any],
    *,
    threads: int,
    limit: Limit | None = None,
    timeout_seconds: float,
) -> Answer:
    """Call a task in a fresh interpreter on ``threads`` cores, or as many as the limit has, and wait for its answer.

    Args:
        task: ``module:function``; called with ``arguments``, returns a dictionary. Both must fit into JSON.
        arguments: of the task.
        threads: of the native pools; without a limit also the number of cores that the process is pinned to.
        limit: cores and memory; applied for real, or the answer is "skipped" with the reason.
        timeout_seconds: after which the process is killed and the answer is "failed".
    """
    group: MemoryGroup | None = None
    memory_by: str | None = None
    data_bytes: int | None = None
    try:
        own = None if limit is None else here(limit)
    except LimitRefusedError as error:
        return _unstarted(str(error))
    if own is not None and own.memory_bytes is not None:
        try:
            group = MemoryGroup(own.memory_bytes)
            memory_by = "memory.max of a control group"
        except LimitRefusedError as error:
            data_bytes = own.memory_bytes
            memory_by = f"RLIMIT_DATA (private writable memory, not what is resident), since: {error}"
    request = {
        "task": task,
        "arguments": dict(arguments),
        "cores": threads if own is None else own.cores,
        "must_pin": own is not None,
        "group": None if group is None else str(group.path),
        "data_bytes": data_bytes,
    }
    try:
        answer = _carry_out(request, threads, timeout_seconds)
        if answer["status"] != "ok" and own is not None:
            killed = group is not None and group.killed()
            answer["reason"] = f"within '{own.name}': {'out of memory, ' if killed else ''}{answer['reason']}"
    finally:
        if group is not None:
            group.close()
    process = answer.get("process", {})
    stated = None
    if own is not None and answer["status"] != "skipped":
        stated = {
            "name": own.name,
            "cores": process.get("affinity"),
            "memory_bytes": own.memory_bytes,
            "memory_by": memory_by,
        }
    return Answer(
        status=answer["status"],
        reason=answer["reason"],
        result=answer.get("result", {}),
        affinity=process.get("affinity"),
        limit=stated,
        notes=process.get("notes", []),
    )


def _unstarted(reason: str) -> Answer:
    return Answer("skipped", reason, {}, None, None, [])


def _carry_out(request: dict[str, Any], threads: int, timeout_seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vireid-measurement-") as name:
        folder = Path(name)
        asked, answered, log = folder / "request.json", folder / "answer.json", folder / "log"
        asked.write_text(json.dumps(request), encoding="utf-8")
        with log.open("wb") as stream:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "vireid.profiling.child", str(asked), str(answered)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=_environment(threads),
                start_new_session=True,
            )
            try:
                code = child.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                return _failed(f"no answer within {timeout_seconds:g} s: killed", log)
            finally:
                _end(child)
        if answered.is_file():
            answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
            return answer
        return _failed(_how_it_ended(code), log)


def _environment(threads: int) -> dict[str, str]:
    """The present environment with the child's threads, and the places that modules are imported from here."""
    paths = [path or str(Path.cwd()) for path in sys.path]
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that still runs, with what it has started, and wait for it."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        word = "killed" if -code == signal.SIGKILL else "ended"
        hint = ", most likely for want of memory" if -code == signal.SIGKILL else ""
        return f"process {word} by {signal.Signals(-code).name}{hint}"
    return f"process ended with exit status {code} and gave no answer"


def _failed(reason: str, log: Path) -> dict[str, Any]:
    words = log.read_text(encoding="utf-8", errors="replace").strip()[-LOG_CHARACTERS:]
    return {"status": "failed", "reason": f"{reason}; last words: {words}" if words else reason}
