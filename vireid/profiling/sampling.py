"""The sampling core: warm up until steady, keep raw samples, summarise them apart.

Needs the standard library (Python 3.9) and NumPy alone and imports nothing of the suite, so that this file runs as it
is on a device that has no PyTorch. What is timed is a call without arguments.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

STEADY_WITHIN = 0.05  # relative change of the median between two windows of warm-up calls
STEADY_WINDOW = 3  # calls
STEADY_AFTER = 0.2  # share of the warm-up time before which no timing counts as settled (clocks ramp up)
NOISY_SPREAD = 1.3  # p90 ÷ p50 above which a note is made
NOISY_NEIGHBOURS = 0.15  # share of the usable cores that other processes kept busy
MINUTE = 60.0  # seconds over which the two ends of a sustained run are compared
WINDOW_SECONDS = 10.0  # of a sustained run, in which its samples are counted and sensors read
SLOWED = 1.05  # last minute ÷ first minute above which a note is made

Call = Callable[[], object]


class Budget(Protocol):
    """How long to warm up and to measure."""

    @property
    def warmup_seconds(self) -> float: ...  # noqa: D102 - warm-up ends here even if not steady; one call at least
    @property
    def min_seconds(self) -> float: ...  # noqa: D102 - measure at least this long
    @property
    def min_repeats(self) -> int: ...  # noqa: D102 - and at least this often
    @property
    def max_seconds(self) -> float: ...  # noqa: D102 - but no longer than this, once three samples exist
    @property
    def max_repeats(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class LatencySamples:
    """Raw timings of one call that handles ``batch`` images."""

    seconds: list[float]  # per call, in order of measurement
    batch: int
    warmup: int  # discarded calls
    steady: bool  # whether warm-up ended because timings had settled
    elapsed: float  # seconds from the first sample's start to the last one's end
    notes: list[str]
    windows: list[dict[str, Any]]  # of a sustained run: start in seconds, number of samples, what ``watch`` read


@dataclass(frozen=True)
class LatencySummary:
    """Seconds per call, and images per second at the median."""

    p50: float
    p90: float
    p99: float
    mean: float
    throughput: float


def summarise(seconds: Sequence[float], batch: int) -> LatencySummary:
    """Percentiles (linear interpolation), mean, and throughput = batch ÷ p50."""
    p50, p90, p99 = (float(value) for value in np.percentile(np.asarray(seconds, dtype=np.float64), [50, 90, 99]))
    return LatencySummary(p50=p50, p90=p90, p99=p99, mean=statistics.fmean(seconds), throughput=batch / p50)


def sample(
    call: Call,
    *,
    batch: int,
    budget: Budget,
    cores: int,
    sustained_seconds: float | None = None,
    window_seconds: float = WINDOW_SECONDS,
    watch: Callable[[], dict[str, Any]] | None = None,
    busy: Callable[[], float | None] | None = None,
    during: AbstractContextManager[object] | None = None,
) -> LatencySamples:
    """Time ``call``, one sample per call, with garbage collection off.

    Calls are discarded until the median of the last three differs by less than 5 % from that of the three before (and
    a fifth of the warm-up time has passed), or the warm-up time is spent. What else kept the machine busy is noted:
    such samples are kept, since the reader must judge them.

    Args:
        call: returns when its work is done.
        batch: images that a call handles.
        budget: of warm-up and measurement.
        cores: that this process may use.
        sustained_seconds: instead of the budget's limits, measure for so long, in windows.
        window_seconds: length of a window of a sustained run.
        watch: read once per window, between two samples (temperature, clock).
        busy: CPU seconds that others have used so far, None where unreadable; by default of ``/proc/stat``.
        during: entered when warm-up is over and left when the last sample is taken (an energy meter).
    """
    others = busy_seconds if busy is None else busy
    warmup, steady = warm_up(call, budget)
    windows: list[dict[str, Any]] = []
    with _no_collection(), during or nullcontext():
        begin, busy_before = time.perf_counter(), others()
        if sustained_seconds is None:
            seconds = _until(call, budget)
        else:
            seconds, windows = _sustain(call, sustained_seconds, window_seconds, watch)
        busy_after, elapsed = others(), time.perf_counter() - begin
    notes = [] if steady else ["timings had not settled when the warm-up time was spent"]
    notes += _remarks(seconds, batch, elapsed, busy_before, busy_after, cores)
    if sustained_seconds is None and len(seconds) < budget.min_repeats:
        notes.append(f"{len(seconds)} samples only: the time limit of {budget.max_seconds:g} s was reached")
    slower = slowdown(seconds, windows)
    if slower is not None and slower > SLOWED:
        notes.append(f"slowed down: the last minute's median is {slower:.2f} times the first minute's")
    return LatencySamples(seconds, batch, warmup, steady, elapsed, notes, windows)


def warm_up(call: Call, budget: Budget) -> tuple[int, bool]:
    """Call until timings settle or the warm-up time is spent: number of calls, and whether they settled."""
    begin = time.perf_counter()
    recent: list[float] = []
    while True:
        recent.append(timed(call))
        elapsed = time.perf_counter() - begin
        if len(recent) >= 2 * STEADY_WINDOW and elapsed >= STEADY_AFTER * budget.warmup_seconds:
            last = statistics.median(recent[-STEADY_WINDOW:])
            previous = statistics.median(recent[-2 * STEADY_WINDOW : -STEADY_WINDOW])
            if abs(last - previous) <= STEADY_WITHIN * previous:
                return len(recent), True
        if elapsed >= budget.warmup_seconds:
            return len(recent), False


def timed(call: Call) -> float:
    """Seconds that one call takes."""
    begin = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begin) / 1e9


def slowdown(seconds: Sequence[float], windows: Sequence[dict[str, Any]], minute: float = MINUTE) -> float | None:
    """Median of the last minute ÷ median of the first, of a sustained run: above 1 the machine throttles.

    Whole windows count, those that begin within the first minute and those that begin within a minute of the last
    window's end; None without windows or where the run is too short for two such ends that do not overlap.
    """
    if not windows:
        return None
    starts = [float(window["start"]) for window in windows]
    ends = [*starts[1:], float(windows[-1]["end"])]
    first = [number for number, start in enumerate(starts) if start < minute]
    last = [number for number, end in enumerate(ends) if end > ends[-1] - minute]
    if first[-1] >= last[0]:
        return None
    bounds = np.cumsum([0, *(int(window["samples"]) for window in windows)])
    head = seconds[: bounds[first[-1] + 1]]
    tail = seconds[bounds[last[0]] :]
    return statistics.median(tail) / statistics.median(head)


def busy_seconds(proc: Path = Path("/proc")) -> float | None:
    """CPU seconds since boot that did not go to this process, the hypervisor's share included; None but on Linux."""
    try:
        fields = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(value) for value in fields[1:9])
    process = os.times()
    everything = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return float(everything - process.user - process.system)


def _until(call: Call, budget: Budget) -> list[float]:
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < budget.max_repeats:
        seconds.append(timed(call))
        elapsed = time.perf_counter() - begin
        enough = len(seconds) >= budget.min_repeats and elapsed >= budget.min_seconds
        if enough or (elapsed >= budget.max_seconds and len(seconds) >= 3):
            break
    return seconds


def _sustain(
    call: Call, length: float, window_seconds: float, watch: Callable[[], dict[str, Any]] | None
) -> tuple[list[float], list[dict[str, Any]]]:
    seconds: list[float] = []
    windows: list[dict[str, Any]] = []
    begin = time.perf_counter()
    elapsed = 0.0
    while elapsed < length:
        start, before = elapsed, len(seconds)
        while elapsed < min(start + window_seconds, length):
            seconds.append(timed(call))
            elapsed = time.perf_counter() - begin
        read = {} if watch is None else watch()
        windows.append({"start": start, "end": elapsed, "samples": len(seconds) - before, **read})
        elapsed = time.perf_counter() - begin
    return seconds, windows


def _remarks(
    seconds: Sequence[float],
    batch: int,
    elapsed: float,
    busy_before: float | None,
    busy_after: float | None,
    cores: int,
) -> list[str]:
    notes: list[str] = []
    summary = summarise(seconds, batch)
    if summary.p90 > NOISY_SPREAD * summary.p50:
        notes.append(f"noisy: p90 is {summary.p90 / summary.p50:.2f} times the median")
    if busy_before is None or busy_after is None:
        notes.append("whether other work kept the machine busy cannot be read here")
        return notes
    busy = busy_after - busy_before
    if elapsed > 0.2 and busy / elapsed > NOISY_NEIGHBOURS * cores:
        notes.append(f"other work on the machine kept {busy / elapsed:.1f} cores busy during the measurement")
    return notes


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection inside; restored after."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
