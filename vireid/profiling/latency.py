"""Latency: raw samples first, summaries apart from them."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from vireid.profiling.config import LatencyBudget
from vireid.profiling.device import affinity, available_cores
from vireid.profiling.runtimes.base import Session

STEADY_WITHIN = 0.05  # relative change of the median between two windows of warm-up calls
STEADY_WINDOW = 3  # calls
STEADY_AFTER = 0.2  # share of the warm-up time before which no timing counts as settled (clocks ramp up)
NOISY_SPREAD = 1.3  # p90 ÷ p50 above which a note is made
NOISY_NEIGHBOURS = 0.15  # share of the usable cores that other processes kept busy


@dataclass(frozen=True, slots=True)
class LatencySamples:
    """Raw timings of one session on one batch size."""

    seconds: list[float]  # per forward, in order of measurement
    batch: int  # images per forward
    threads: int
    affinity: list[int] | None  # cores the process could run on
    warmup: int  # discarded calls
    steady: bool  # whether warm-up ended because timings had settled
    notes: list[str]


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Seconds per forward, and images per second at the median."""

    p50: float
    p90: float
    p99: float
    mean: float
    throughput: float


def summarise(seconds: Sequence[float], batch: int) -> LatencySummary:
    """Percentiles (linear interpolation), mean, and throughput = batch ÷ p50."""
    p50, p90, p99 = (float(value) for value in np.percentile(np.asarray(seconds, dtype=np.float64), [50, 90, 99]))
    return LatencySummary(p50=p50, p90=p90, p99=p99, mean=statistics.fmean(seconds), throughput=batch / p50)


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Run PyTorch and the native thread pools (BLAS, OpenMP) with ``threads`` threads; restored afterwards."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def measure(session: Session, images: Tensor, *, threads: int, budget: LatencyBudget) -> LatencySamples:
    """Time ``session`` on ``images`` (B×3×H×W), one sample per forward.

    Calls are discarded until the median of the last three differs by less than 5 % from that of the three before (and
    a fifth of the warm-up time has passed), or the warm-up time is spent. Garbage collection is off while timing. What
    else kept the machine busy is noted: such samples are kept, since the reader must judge them.
    """
    notes: list[str] = []
    with thread_limit(threads):
        warmup, steady = _warm_up(session, images, budget)
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        busy_before, begin = _busy_seconds(), time.perf_counter()
        try:
            seconds = _sample(session, images, budget)
        finally:
            if collecting:
                gc.enable()
        elapsed, busy = time.perf_counter() - begin, _busy_seconds() - busy_before
    summary = summarise(seconds, len(images))
    if not steady:
        notes.append("timings had not settled when the warm-up time was spent")
    if summary.p90 > NOISY_SPREAD * summary.p50:
        notes.append(f"noisy: p90 is {summary.p90 / summary.p50:.2f} times the median")
    if elapsed > 0.2 and busy / elapsed > NOISY_NEIGHBOURS * available_cores():
        notes.append(f"other work on the machine kept {busy / elapsed:.1f} cores busy during the measurement")
    if len(seconds) < budget.min_repeats:
        notes.append(f"{len(seconds)} samples only: the time limit of {budget.max_seconds:g} s was reached")
    return LatencySamples(seconds, len(images), threads, affinity(), warmup, steady, notes)


def _warm_up(session: Session, images: Tensor, budget: LatencyBudget) -> tuple[int, bool]:
    begin = time.perf_counter()
    recent: list[float] = []
    while True:
        recent.append(_timed(session, images))
        elapsed = time.perf_counter() - begin
        if len(recent) >= 2 * STEADY_WINDOW and elapsed >= STEADY_AFTER * budget.warmup_seconds:
            last = statistics.median(recent[-STEADY_WINDOW:])
            previous = statistics.median(recent[-2 * STEADY_WINDOW : -STEADY_WINDOW])
            if abs(last - previous) <= STEADY_WITHIN * previous:
                return len(recent), True
        if elapsed >= budget.warmup_seconds:
            return len(recent), False


def _sample(session: Session, images: Tensor, budget: LatencyBudget) -> list[float]:
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < budget.max_repeats:
        seconds.append(_timed(session, images))
        elapsed = time.perf_counter() - begin
        enough = len(seconds) >= budget.min_repeats and elapsed >= budget.min_seconds
        if enough or (elapsed >= budget.max_seconds and len(seconds) >= 3):
            break
    return seconds


def _timed(session: Session, images: Tensor) -> float:
    begin = time.perf_counter_ns()
    session(images)
    return (time.perf_counter_ns() - begin) / 1e9


def _busy_seconds() -> float:
    """CPU seconds since boot that did not go to this process (the hypervisor's share included)."""
    times = psutil.cpu_times()
    everything = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
    own = os.times()
    return float(everything - own.user - own.system)
