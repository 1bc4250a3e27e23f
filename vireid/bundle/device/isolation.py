"""One task in a fresh process, so that nothing which ran before it has a part in it (standard library alone).

As ``vireid.profiling.isolation`` does it: threads in the environment, held to its cores before NumPy is imported, and
killed when its time is over. However the process ends, the caller gets an answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...profiling.sampling import THREAD_VARIABLES

LOG_CHARACTERS = 400  # of a dead child's last words that go into the reason
POLL_SECONDS = 0.2  # between two looks at the child: this process sleeps while that one measures
_HERE = Path(__file__).resolve()
_ROOT = _HERE.parents[len(str(__package__).split("."))]  # where the outermost package lies


def run_isolated(
    task: str,
    arguments: Mapping[str, Any],
    *,
    threads: int,
    timeout_seconds: float,
    waiting: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Call a function of ``tasks`` in a fresh interpreter on ``threads`` cores, and wait for its answer.

    Args:
        task: name of the function; called with ``arguments`` and ``threads``, returns a dictionary. All of it fits
            into JSON.
        arguments: of the task.
        threads: of the native pools, and number of cores that the process is held to.
        timeout_seconds: after which the process is killed and the answer is "failed".
        waiting: told the seconds that have passed, again and again.

    Returns:
        ``status`` (ok or failed), ``reason``, ``affinity`` (the cores, None where processes cannot be held to any),
        ``notes`` and ``result``, what the task returned.
    """
    with tempfile.TemporaryDirectory(prefix="vireid-bundle-") as name:
        asked, answered, log = (Path(name) / file for file in ("request.json", "answer.json", "log"))
        request = {"task": task, "arguments": dict(arguments), "threads": threads}
        asked.write_text(json.dumps(request), encoding="utf-8")
        with log.open("wb") as stream:
            child = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.child", str(asked), str(answered)],
                stdin=subprocess.PIPE,  # closes with this process, which ends the child
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=_environment(threads),
                start_new_session=True,
            )
            try:
                code = _wait(child, timeout_seconds, waiting)
            finally:
                _end(child)
        if code is None:
            return _failed(f"no answer within {timeout_seconds:g} s: killed", log)
        if answered.is_file():
            answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
            return answer
        return _failed(_how_it_ended(code), log)


def _wait(child: subprocess.Popen[bytes], timeout_seconds: float, waiting: Callable[[float], None]) -> int | None:
    begin = time.monotonic()
    while (left := timeout_seconds - (time.monotonic() - begin)) > 0:
        try:
            return child.wait(min(POLL_SECONDS, left))
        except subprocess.TimeoutExpired:
            waiting(time.monotonic() - begin)
    return None


def _environment(threads: int) -> dict[str, str]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that still runs, with what it has started, and wait for it."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    if child.stdin is not None:
        child.stdin.close()
    child.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        killed = -code == getattr(signal, "SIGKILL", 9)
        hint = ", most likely for want of memory" if killed else ""
        return f"process {'killed' if killed else 'ended'} by {signal.Signals(-code).name}{hint}"
    return f"process ended with exit status {code} and gave no answer"


def _failed(reason: str, log: Path) -> dict[str, Any]:
    words = log.read_text(encoding="utf-8", errors="replace").strip()[-LOG_CHARACTERS:]
    reason = f"{reason}; last words: {words}" if words else reason
    return {"status": "failed", "reason": reason, "affinity": None, "notes": [], "result": {}}
