"""The isolated process of one measurement: ``python -m vireid.profiling.child REQUEST RESULT``.

Cores, control group and memory limit are set before anything that starts threads is imported; then the task is called
and its answer written as JSON. It ends when its parent does (its standard input closes).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from vireid.profiling.limits import LimitRefusedError, limit_data, pin
from vireid.profiling.memory_group import join_group


def main() -> None:
    """Carry out the request named on the command line; the answer's ``status`` says how it went."""
    _end_with_parent()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = _answer(request)
    partial = Path(sys.argv[2] + ".part")
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(sys.argv[2])


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        process = _confine(request)
    except LimitRefusedError as error:
        return {"status": "skipped", "reason": str(error)}
    try:
        module, _, function = request["task"].partition(":")
        result = getattr(importlib.import_module(module), function)(**request["arguments"])
    except Exception as error:  # whatever fails in here is the answer; the parent files it
        traceback.print_exc(file=sys.stderr)
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}", "process": process}
    return {"status": "ok", "reason": None, "process": process, "result": result}


def _confine(request: dict[str, Any]) -> dict[str, Any]:
    """Apply what the request asks of this process; what was applied."""
    started = sorted({"torch", "numpy", "openvino", "onnxruntime"} & sys.modules.keys())
    if started:
        raise RuntimeError(f"{', '.join(started)} was imported before the limits were applied")
    done: dict[str, Any] = {}
    try:
        done["affinity"] = pin(request["cores"])
    except LimitRefusedError as error:
        if request["must_pin"]:
            raise
        done["notes"] = [f"not pinned to {request['cores']} cores: {error}"]
    if request.get("group") is not None:
        join_group(Path(request["group"]))
    elif request.get("data_bytes") is not None:
        limit_data(request["data_bytes"])
    return done


def _end_with_parent() -> None:
    """Leave at once when standard input closes: the parent has ended, however it ended."""

    def watch() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would be held at interpreter shutdown
            pass
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
