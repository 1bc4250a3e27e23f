"""The isolated process of one task: ``python -m ….child REQUEST ANSWER``. Ends when its parent does."""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Hold this process to its cores, then import what starts threads and carry out the request."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    cores, notes = pin(request["threads"])
    answer: dict[str, Any] = {"status": "ok", "reason": None, "affinity": cores, "notes": notes, "result": {}}
    try:
        from . import tasks  # not before the process is pinned: NumPy starts its threads when it is imported

        answer["result"] = getattr(tasks, request["task"])(threads=request["threads"], **request["arguments"])
    except Exception as error:  # whatever fails in here is the answer; the parent files it
        traceback.print_exc(file=sys.stderr)
        first_line = next(iter(str(error).strip().splitlines()), "")
        answer.update(status="failed", reason=f"{type(error).__name__}: {first_line}")
    partial = Path(sys.argv[2] + ".part")
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(sys.argv[2])


def pin(cores: int) -> tuple[list[int] | None, list[str]]:
    """Let this process run on ``cores`` cores only, the last of its own; which, or a note why it is not held to any."""
    if not hasattr(os, "sched_setaffinity"):
        return None, [f"not pinned to {cores} cores: {platform.system()} lets no process choose its cores"]
    usable = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, usable[-cores:])
    except OSError as error:
        return usable, [f"not pinned to {cores} cores: {error.strerror}"]
    return sorted(os.sched_getaffinity(0)), []


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held at interpreter shutdown
        pass
    os._exit(143)


if __name__ == "__main__":
    main()
