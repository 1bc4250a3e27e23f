"""The sampling core: warm-up, windows, noise, and that it needs nothing but NumPy."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from vireid.profiling import sampling
from vireid.profiling.sampling import Budget, busy_seconds, sample, slowdown, warm_up


def budget(**changes: float) -> Budget:
    given = {"warmup_seconds": 1.0, "min_seconds": 1.0, "min_repeats": 4, "max_seconds": 30.0, "max_repeats": 1000}
    return SimpleNamespace(**{**given, **changes})  # type: ignore[return-value]


class Clock:
    """Time that passes only while a call runs: no test waits for a real one."""

    def __init__(self, durations: Iterable[float]) -> None:
        self.now = 0.0
        self._durations = iter(durations)

    def call(self) -> None:
        self.now += next(self._durations)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[float]], Clock]:
    def start(durations: Iterable[float]) -> Clock:
        made = Clock(durations)
        fake = SimpleNamespace(perf_counter=lambda: made.now, perf_counter_ns=lambda: round(made.now * 1e9))
        monkeypatch.setattr(sampling, "time", fake)
        return made

    return start


StartClock = Callable[[Iterable[float]], Clock]


def test_warm_up_ends_when_medians_settle(clock: StartClock) -> None:
    # medians of three: at the eighth call 0.1 (of 6-8) against 0.1 (of 0.2, 0.1, 0.1); before that 0.2 and 0.3
    falling = [0.5, 0.3, 0.2]
    assert warm_up(clock(chain(falling, repeat(0.1))).call, budget(warmup_seconds=2)) == (8, True)
    # but not before a fifth of the time has passed: 0.2 × 10 = 2.0 s are reached with the 13th call
    assert warm_up(clock(chain(falling, repeat(0.1))).call, budget(warmup_seconds=9.9)) == (13, True)
    # nor later than the time allows
    assert warm_up(clock(chain(falling, repeat(0.1))).call, budget(warmup_seconds=1.05)) == (4, False)


def test_samples_follow_warm_up_in_order(clock: StartClock) -> None:
    durations = [0.5, 0.3, 0.2, *[0.1] * 5, 0.41, 0.42, 0.43, 0.44, 0.45]
    found = sample(clock(durations).call, batch=2, budget=budget(warmup_seconds=2), cores=1, busy=lambda: 0.0)
    assert found.warmup == 8
    assert found.seconds == pytest.approx([0.41, 0.42, 0.43, 0.44])  # the shortest that has 4 samples and 1 s
    assert found.elapsed == pytest.approx(1.70)
    assert found.windows == []
    assert found.notes == []


def test_limits_of_the_budget(clock: StartClock) -> None:
    few = sample(
        clock(repeat(2.0)).call, batch=1, budget=budget(min_repeats=50, max_seconds=5), cores=1, busy=lambda: 0.0
    )
    assert len(few.seconds) == 3
    assert any("3 samples only: the time limit of 5 s" in note for note in few.notes)
    many = sample(clock(repeat(0.001)).call, batch=1, budget=budget(max_repeats=7), cores=1, busy=lambda: 0.0)
    assert len(many.seconds) == 7


def test_other_work_is_noted_from_a_share_of_the_cores_on(clock: StartClock) -> None:
    def notes(used: float | None, cores: int) -> str:
        readings = iter([10.0, None if used is None else 10.0 + used])
        found = sample(clock(repeat(0.25)).call, batch=1, budget=budget(), cores=cores, busy=lambda: next(readings))
        return "; ".join(found.notes)

    assert "kept 0.5 cores busy" in notes(0.5, 2)  # over 1 s
    assert "busy" not in notes(0.25, 2)
    assert "kept 0.2 cores busy" in notes(0.25, 1)
    assert "cannot be read here" in notes(None, 1)


def test_sustained_run_counts_samples_by_window(clock: StartClock) -> None:
    temperatures = iter(range(40, 60))
    # 0.5 s for a minute, then 0.75 s: the machine throttles
    durations = chain(repeat(0.5, 3 + 120), repeat(0.75))
    found = sample(
        clock(durations).call,
        batch=1,
        budget=budget(warmup_seconds=1.5),
        cores=1,
        sustained_seconds=180,
        watch=lambda: {"temperature_c": float(next(temperatures))},
        busy=lambda: 0.0,
    )
    assert found.warmup == 3
    assert len(found.seconds) == 120 + 160
    assert sum(window["samples"] for window in found.windows) == len(found.seconds)
    assert [window["samples"] for window in found.windows[:7]] == [20] * 6 + [14]  # the seventh ends at 70.5 s
    assert found.windows[0] == {"start": 0.0, "end": 10.0, "samples": 20, "temperature_c": 40.0}
    assert slowdown(found.seconds, found.windows) == pytest.approx(1.5)
    assert any("last minute's median is 1.50 times the first minute's" in note for note in found.notes)


def naive_slowdown(seconds: list[float], ends: list[float]) -> float:
    """Median of the samples that end within the last minute ÷ of those that end within the first."""
    first = [s for s, end in zip(seconds, ends, strict=True) if end <= 60 + 1e-9]
    last = [s for s, end in zip(seconds, ends, strict=True) if end > ends[-1] - 60 + 1e-9]
    return statistics.median(last) / statistics.median(first)


def test_slowdown_against_sample_by_sample_count() -> None:
    seconds = [1.0 + 0.01 * (n % 7) + (0.3 if n > 150 else 0.0) for n in range(300)]
    ends = [sum(seconds[: n + 1]) for n in range(300)]
    windows, start, before = [], 0.0, 0
    for count in [10] * 30:
        end = ends[before + count - 1]
        windows.append({"start": start, "end": end, "samples": count})
        start, before = end, before + count
    # windows of 10 samples against single ones: medians of the same plateaus
    assert slowdown(seconds, windows) == pytest.approx(naive_slowdown(seconds, ends), abs=0.02)
    assert slowdown(seconds[:60], windows[:6]) is None, "one minute has no two ends"
    assert slowdown(seconds, []) is None


def test_collection_is_off_while_sampling_and_the_meter_sees_no_warm_up(clock: StartClock) -> None:
    seen: list[str] = []

    @contextmanager
    def meter() -> Iterator[None]:
        seen.append("on")
        yield
        seen.append("off")

    given = clock(repeat(0.5))

    def call() -> None:
        seen.append("collecting" if gc.isenabled() else "not collecting")
        given.call()

    found = sample(call, batch=1, budget=budget(warmup_seconds=0), cores=1, busy=lambda: 0.0, during=meter())
    assert seen == ["collecting", "on", *["not collecting"] * len(found.seconds), "off"]
    assert gc.isenabled()


def test_busy_seconds_leave_out_idle_time(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  900000 20000 70000 5000000 3000 100 200 700 400 0\ncpu0 1 2 3\n")
    everything = (900000 + 20000 + 70000 + 100 + 200 + 700) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    assert busy_seconds(tmp_path) == pytest.approx(everything - own.user - own.system, abs=5)
    assert busy_seconds(tmp_path / "absent") is None


def test_the_file_runs_where_there_is_nothing_but_numpy(tmp_path: Path) -> None:
    script = tmp_path / "alone.py"
    script.write_text(Path(sampling.__file__).read_text(encoding="utf-8") + ALONE)
    result = subprocess.run(
        [sys.executable, "-I", str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["20.0", "[]"]


ALONE = """
import sys
print(summarise([0.1, 0.1, 0.3], batch=2).throughput)
print([name for name in ("torch", "vireid", "psutil", "pydantic") if name in sys.modules])
"""
