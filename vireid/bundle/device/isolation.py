"""One task of the device in a fresh process, held to its cores before NumPy is imported (standard library alone).

Run as a module, this file is that process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.child import answer, ask, failure, pin


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
        waiting: called with the seconds that have passed, again and again.

    Returns:
        ``status`` (ok or failed), ``reason``, ``affinity`` (the cores, None where processes cannot be held to any),
        ``notes`` and ``result``, what the task returned.
    """
    request = {"task": task, "arguments": dict(arguments), "threads": threads}
    given = ask(__name__, request, threads=threads, timeout_seconds=timeout_seconds, waiting=waiting)
    return {"affinity": None, "notes": [], "result": {}, **given}


def _carry_out(request: dict[str, Any]) -> dict[str, Any]:
    cores, unpinned = pin(request["threads"])
    notes = [f"not pinned to {unpinned}"] if unpinned else []
    process: dict[str, Any] = {"affinity": cores, "notes": notes}
    try:
        from . import tasks  # not before the process is pinned: NumPy starts its threads when it is imported

        result = getattr(tasks, request["task"])(threads=request["threads"], **request["arguments"])
    except Exception as error:  # whatever fails in here is the answer; the parent records it
        return {"status": "failed", "reason": failure(error), **process}
    return {"status": "ok", "reason": None, "result": result, **process}


if __name__ == "__main__":
    answer(_carry_out)
