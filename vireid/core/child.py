"""Child processes: a fresh interpreter that is asked for one thing, ends with its parent, and always gives an answer.

Measurements, the jobs of a study and the tasks of a bundle run in such processes. Needs the standard library alone
(Python 3.9): a bundle takes this file along to devices.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

# Every name by which BLAS, OpenMP and the runtimes' pools read their number of threads.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
LOG_CHARACTERS = 400  # of the end of a dead child's log that go into the reason
POLL_SECONDS = 0.2  # between two looks at the child: this process sleeps while that one measures


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a fresh interpreter, without the working directory on its path."""
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe_path, "-m", module, *arguments]


def environment(threads: Optional[int] = None) -> dict[str, str]:
    """The present environment, the paths that modules are imported from here, and the child's threads if given."""
    paths = [path or str(Path.cwd()) for path in sys.path]
    limits = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    return {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def ask(
    module: str,
    request: Mapping[str, Any],
    *,
    threads: int,
    timeout_seconds: float,
    waiting: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Run ``module``, whose ``main`` calls ``answer``, in a fresh interpreter and wait for what it answers.

    Args:
        module: run with ``python -m``.
        request: what it is asked; fits into JSON, and so does its answer.
        threads: of the child's native pools, set in its environment.
        timeout_seconds: after which the child is killed, with what it has started.
        waiting: called with the seconds that have passed, every ``POLL_SECONDS``.

    Returns:
        The answer; ``status`` "failed" and a ``reason`` with the end of its log where the child gave none.
    """
    with tempfile.TemporaryDirectory(prefix="vireid-child-") as name:
        asked, answered, log = (Path(name) / file for file in ("request.json", "answer.json", "log"))
        asked.write_text(json.dumps(request), encoding="utf-8")
        with log.open("wb") as stream:
            child = subprocess.Popen(
                command(module, str(asked), str(answered)),
                stdin=subprocess.PIPE,  # closes with this process, which ends the child
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment(threads),
                start_new_session=True,
            )
            try:
                code = _wait(child, timeout_seconds, waiting)
            finally:
                end(child)
        if code is None:
            return _failed(f"no answer within {timeout_seconds:g} s: killed", log)
        if answered.is_file():
            given: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
            return given
        return _failed(f"process {how_it_ended(code)}" + (" and gave no answer" if code >= 0 else ""), log)


def answer(carry_out: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """In the child: carry out the request named on the command line and write the answer, whole or not at all."""
    end_with_parent()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    partial = Path(sys.argv[2] + ".part")
    partial.write_text(json.dumps(carry_out(request)), encoding="utf-8")
    partial.replace(sys.argv[2])


def failure(error: Exception) -> str:
    """In the child: the reason that an answer gives for an exception, whose traceback goes to the log."""
    traceback.print_exc(file=sys.stderr)
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first_line}"


def pin(cores: int) -> tuple[Optional[list[int]], Optional[str]]:
    """Let this process, and every thread that it starts from now on, run on ``cores`` cores only.

    The last of those that it may use: the first ones serve more of the system's own work.

    Returns:
        The cores that it runs on, None where the system does not tell; and why it is not held to that many, if so.
    """
    if sys.platform == "win32" or not hasattr(os, "sched_setaffinity"):
        return None, f"{cores} cores: {platform.system()} lets no process choose its cores"
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        return usable, f"{cores} cores: this process may use {len(usable)} only"
    try:
        os.sched_setaffinity(0, usable[-cores:])
    except OSError as error:
        return usable, f"{cores} cores: {error.strerror}"
    return sorted(os.sched_getaffinity(0)), None


def end_with_parent() -> None:
    """In the child: leave at once when standard input closes, since the parent has ended, however it ended."""

    def watch() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would be held at interpreter shutdown
            pass
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


def how_it_ended(code: int) -> str:
    """The end of a process by its return code, as ``subprocess`` gives it."""
    if code >= 0:
        return f"ended with exit status {code}"
    killed = -code == getattr(signal, "SIGKILL", 9)
    hint = ", most likely for want of memory" if killed else ""
    return f"{'killed' if killed else 'ended'} by {signal.Signals(-code).name}{hint}"


def _wait(child: subprocess.Popen[bytes], timeout_seconds: float, waiting: Callable[[float], None]) -> Optional[int]:
    begin = time.monotonic()
    while (left := timeout_seconds - (time.monotonic() - begin)) > 0:
        try:
            return child.wait(min(POLL_SECONDS, left))
        except subprocess.TimeoutExpired:
            waiting(time.monotonic() - begin)
    return None


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that still runs, with what it has started, and wait for it."""
    if child.poll() is None:
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def _failed(reason: str, log: Path) -> dict[str, Any]:
    last_output = log.read_text(encoding="utf-8", errors="replace").strip()[-LOG_CHARACTERS:]
    return {"status": "failed", "reason": f"{reason}; last words: {last_output}" if last_output else reason}
