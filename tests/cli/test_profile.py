"""`vireid profile` as a user calls it."""

import pytest

from tests.tiny import TINY
from vireid.core.records import LatencyRecord
from vireid.store import Store

FAST = "profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 5, max_seconds: 0.5}"


@pytest.mark.check
def test_weak_profile_with_stages_prints_what_it_measured(shell):
    result = shell.run("profile", *TINY, "profile=weak", FAST, "--stages")
    assert result.returncode == 0, result.stderr
    for heading in (
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "images/s",
        "load s",
        "file MB",
        "RSS MB",
        "From JPEG to ranked list",
    ):
        assert heading in result.stdout, heading
    for stage in ("decode", "preprocess", "backbone", "neck", "search", "whole way"):
        assert stage in result.stdout, stage
    assert "1 core" in result.stdout
    assert "gallery of 1000 rows" in result.stdout


def test_a_measurement_that_fails_is_named_and_the_others_are_shown(shell):
    limits = ("profile.limit='1 core, 50 MB'", FAST)  # PyTorch alone is larger
    result = shell.run("profile", *TINY, *limits)
    assert result.returncode == 1
    assert "Cost of" in result.stdout
    assert "1 core, 50 MB, fp32, 1 thread, batch 1: failed: within '" in result.stdout
    assert len(list(shell.store.glob("runs/*.failed-1.json"))) == 1


def test_a_device_s_name_is_no_limit(shell):
    result = shell.run("profile", *TINY, "profile.limit='Raspberry Pi 4'")
    assert result.returncode == 2
    assert "a limit is named by what it is" in result.stderr


def test_a_doubted_latency_is_measured_anew(shell):
    asked = ("profile", *TINY, FAST, "profile.runtimes=[{name: eager}]")
    assert shell.run(*asked).returncode == 0
    store = Store(shell.store)
    first = next(record for record in store.records() if isinstance(record, LatencyRecord))
    for notes, changes in (([], False), (["noisy: p90 is 1.60 times the median"], True)):
        store.put(first.model_copy(update={"notes": notes, "started": "2000-01-01T00:00:00+00:00"}))
        assert shell.run(*asked, "--again").returncode == 0
        again = store.get(first.id)
        assert again is not None
        assert (again.started[:4] != "2000") is changes
