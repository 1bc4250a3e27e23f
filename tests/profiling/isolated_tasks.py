"""Tasks for isolated processes: each ends in a way of its own. Imports little, so that most of them end at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any


def look_around(word: str) -> dict[str, Any]:
    import torch

    return {
        "word": word,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads(),
        "variables": [os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]],
        "process": os.getpid(),
    }


def fail() -> dict[str, Any]:
    raise RuntimeError("no such luck")


def exhaust() -> dict[str, Any]:
    return {"size": len(b"x" * 4_000_000_000)}  # written, not only asked for


def die() -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leave() -> dict[str, Any]:
    sys.stderr.write("a last word\n")
    sys.stderr.flush()
    os._exit(7)


def hang() -> dict[str, Any]:
    time.sleep(600)
    return {}


def not_json() -> dict[str, Any]:
    return {"value": object()}
