"""One measurement in a process of its own, so that nothing which ran before it has a part in it.

The process is started with its number of threads in the environment, held to its cores and memory before it imports
PyTorch, and killed when its time is over. However it ends, the caller gets an answer. Run as a module, this file is
that process.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.child import answer, ask, failure, pin
from vireid.profiling.limits import Limit, LimitRefusedError, MemoryGroup, here, join_group, limit_data


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
        return Answer("skipped", str(error), {}, None, None, [])
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
        given = ask(__name__, request, threads=threads, timeout_seconds=timeout_seconds)
        if given["status"] != "ok" and own is not None:
            killed = group is not None and group.killed()
            given["reason"] = f"within '{own.name}': {'out of memory, ' if killed else ''}{given['reason']}"
    finally:
        if group is not None:
            group.close()
    process = given.get("process", {})
    applied = None
    if own is not None and given["status"] != "skipped":
        applied = {
            "name": own.name,
            "cores": process.get("affinity"),
            "memory_bytes": own.memory_bytes,
            "memory_by": memory_by,
        }
    return Answer(
        status=given["status"],
        reason=given["reason"],
        result=given.get("result", {}),
        affinity=process.get("affinity"),
        limit=applied,
        notes=process.get("notes", []),
    )


def _carry_out(request: dict[str, Any]) -> dict[str, Any]:
    try:
        process = _confine(request)
    except LimitRefusedError as error:
        return {"status": "skipped", "reason": str(error)}
    try:
        module, _, function = request["task"].partition(":")
        result = getattr(importlib.import_module(module), function)(**request["arguments"])
    except Exception as error:  # whatever fails in here is the answer; the parent records it
        return {"status": "failed", "reason": failure(error), "process": process}
    return {"status": "ok", "reason": None, "process": process, "result": result}


def _confine(request: dict[str, Any]) -> dict[str, Any]:
    """Apply what the request asks of this process; what was applied."""
    started = sorted({"torch", "numpy", "openvino", "onnxruntime"} & sys.modules.keys())
    if started:
        raise RuntimeError(f"{', '.join(started)} was imported before the limits were applied")
    cores, unpinned = pin(request["cores"])
    if unpinned and request["must_pin"]:
        raise LimitRefusedError(unpinned)
    if request.get("group") is not None:
        join_group(Path(request["group"]))
    elif request.get("data_bytes") is not None:
        limit_data(request["data_bytes"])
    if unpinned:
        return {"notes": [f"not pinned to {unpinned}"]}
    return {"affinity": cores}


if __name__ == "__main__":
    answer(_carry_out)
