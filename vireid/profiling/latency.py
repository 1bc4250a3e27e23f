"""Latency of a session: the sampling core with PyTorch's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from vireid.profiling.config import LatencyBudget
from vireid.profiling.device import available_cores
from vireid.profiling.runtimes.base import Session
from vireid.profiling.sampling import LatencySamples, LatencySummary, busy_seconds, sample, summarise

__all__ = ["LatencySamples", "LatencySummary", "measure", "summarise", "thread_limit"]


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


def measure(
    session: Session,
    images: Tensor,
    *,
    threads: int,
    budget: LatencyBudget,
    sustained_seconds: float | None = None,
    watch: Callable[[], dict[str, Any]] | None = None,
    during: AbstractContextManager[object] | None = None,
) -> LatencySamples:
    """Time ``session`` on ``images`` (B×3×H×W) with ``threads`` threads; see ``sampling.sample``."""
    with thread_limit(threads):
        return sample(
            lambda: session(images),
            batch=len(images),
            budget=budget,
            cores=available_cores(),
            sustained_seconds=sustained_seconds,
            watch=watch,
            busy=_busy_seconds,
            during=during,
        )


def _busy_seconds() -> float | None:
    """As ``sampling.busy_seconds``, on systems without ``/proc`` as well."""
    if psutil.LINUX:
        return busy_seconds()
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return float(sum(times) - times.idle - own.user - own.system)
