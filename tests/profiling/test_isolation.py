"""Isolated processes: what they are held to, and that every end of theirs is an answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.profiling.models import Pooled
from vireid.core.config import parse
from vireid.core.records import LatencyRecord
from vireid.profiling.artefact_memory import METHOD
from vireid.profiling.config import ProfileConfig
from vireid.profiling.isolation import Answer, Limit, run_isolated
from vireid.profiling.latency import latency

TASKS = "tests.profiling.isolated_tasks"
BUDGET = {"warmup_seconds": 0.02, "min_seconds": 0.02, "min_repeats": 5, "max_seconds": 0.5}


def carry_out(task: str, **options: Any) -> Answer:
    arguments = options.pop("arguments", {})
    return run_isolated(f"{TASKS}:{task}", arguments, **{"threads": 1, "timeout_seconds": 300, **options})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_the_process_is_fresh_pinned_and_has_its_threads() -> None:
    answer = carry_out("look_around", arguments={"word": "größer"})
    assert answer.status == "ok", answer.reason
    assert answer.result["word"] == "größer"
    assert answer.result["process"] != os.getpid()
    assert answer.affinity == answer.result["affinity"] == sorted(os.sched_getaffinity(0))[-1:]
    assert answer.result["threads"] == 1
    assert answer.result["variables"] == ["1", "1"]
    assert answer.limit is None


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("fail", "RuntimeError: no such luck"),
        ("die", "process killed by SIGKILL, most likely for want of memory"),
        ("leave", "exit status 7 and gave no answer; last words: a last word"),
        ("not_json", "exit status 1 and gave no answer; last words: "),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_every_end_is_an_answer(task: str, reason: str) -> None:
    answer = carry_out(task)
    assert answer.status == "failed"
    assert answer.reason is not None
    assert reason in answer.reason
    assert answer.result == {}


def test_a_process_that_hangs_is_killed() -> None:
    answer = carry_out("hang", timeout_seconds=2)
    assert answer.status == "failed"
    assert answer.reason is not None
    assert answer.reason.startswith("no answer within 2 s: killed")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_is_limited_and_the_record_says_how() -> None:
    answer = carry_out("exhaust", limit=Limit.parse("1 core, 2 GB"))
    assert answer.status == "failed"
    assert answer.reason is not None
    assert "1 core, 2 GB'" in answer.reason
    assert answer.limit is not None
    assert answer.limit["name"].endswith("1 core, 2 GB")
    assert answer.limit["memory_bytes"] == 2_000_000_000
    assert "memory.max" in answer.limit["memory_by"] or "RLIMIT_DATA" in answer.limit["memory_by"]


def test_a_limit_that_cannot_be_applied_measures_nothing() -> None:
    for limit in ("4096 cores", "arm, 1 core" if os.uname().machine == "x86_64" else "x86, 1 core"):
        answer = carry_out("look_around", limit=Limit.parse(limit), arguments={"word": ""})
        assert answer.status == "skipped"
        assert answer.reason
        assert answer.limit is None
        assert answer.result == {}


def measured(module: nn.Module, **changes: Any) -> dict[str, Any]:
    given = {"budget": BUDGET, "batches": [2], "threads": [1], "isolate": True, **changes}
    (result,) = latency(module, 8, 6, parse(ProfileConfig, given, "profile"), artefact="0" * 12)
    return result


def test_isolated_latency_fits_the_record() -> None:
    result = measured(Pooled(nn.ReLU()))
    assert result["status"] == "ok", result["reason"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) <= set(LatencyRecord.model_fields)
    assert len(result["seconds"]) >= 5
    assert result["isolated"]
    assert result["load_seconds"] > 0
    assert result["size_bytes"] > 4 * (3 * 4 * 9 + 1)
    assert result["rss_bytes"] > 50e6, "an interpreter with PyTorch"
    assert result["peak_memory_bytes"] < 20e6, "PyTorch is not the artefact's"
    assert result["memory_by"].startswith(METHOD)
    assert set(result["sensors"]) == {"before", "after", "energy_by"}


def test_a_runtime_with_a_file_of_its_own_is_loaded_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = measured(Pooled(nn.ReLU()), runtimes=[{"name": "tests.profiling.stored_runtime:Stored"}])
    assert result["status"] == "ok", result["reason"]
    assert result["size_bytes"] == 1000
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_what_cannot_be_pickled_is_named() -> None:
    class Local(nn.Module):
        """Not importable elsewhere."""

    result = measured(Local())
    assert result["status"] == "failed"
    assert "Local cannot be handed to another process" in result["reason"]
    assert "profile.isolate=false" in result["reason"]
