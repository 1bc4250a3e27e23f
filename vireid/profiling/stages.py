"""Where the time of a chain goes: every repetition of the whole way, timed at the end of each stage."""

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from vireid.profiling.config import ProfileConfig
from vireid.profiling.latency import measure_forward

Mark = Callable[[str], None]  # called with a stage's name when it is over
Way = Callable[[Mark], None]


class StageTimer:
    """Runs a way as a call without arguments and keeps when its stages were over."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._rows: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Run the way once. A stage that is marked more than once counts with the sum of its parts."""
        row: dict[str, float] = {}
        before = time.perf_counter_ns()

        def mark(name: str) -> None:
            nonlocal before
            now = time.perf_counter_ns()
            row[name] = row.get(name, 0.0) + (now - before) / 1e9
            before = now

        self._way(mark)
        self._rows.append(row)

    def stages(self, first: int, count: int) -> dict[str, list[float]]:
        """Seconds of each stage, in order, of ``count`` repetitions from the ``first`` on (from 0)."""
        rows = self._rows[first : first + count]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name, 0.0) for row in rows] for name in names}


def measure_way(way: Way, module: Callable[[], nn.Module], example: Tensor, single: ProfileConfig) -> dict[str, Any]:
    """As ``measure_forward``, of the whole way, with ``stages``: as many samples of each as ``seconds`` has.

    Args:
        way: one query; its work is done when it returns.
        module: gives the network, whose weights count as memory.
        example: one image as the network takes it (1×3×H×W).
        single: a profile of one combination.
    """
    timer = StageTimer(way)
    found = measure_forward(lambda _: timer(), module, example, single)
    return {**found, "stages": timer.stages(found["warmup"], len(found["seconds"]))}
