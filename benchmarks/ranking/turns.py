"""Functions that take turns in one run, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time


def take_turns(functions, repeats=3):
    """Seconds of each function by name (one sample per turn) and its last value."""
    seconds = {name: [] for name in functions}
    values = {}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            values[name] = function()
            seconds[name].append(time.perf_counter() - start)
    return seconds, values


def ratios(seconds, ours):
    """One line per function: the median and how it compares with ours, turn by turn."""
    lines = []
    for name, samples in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(samples, seconds[ours], strict=True))
        compared = "" if name == ours else f", {ratio:.2f} × ours"
        lines.append(f"  {name}: {statistics.median(samples):.3f} s{compared}")
    return "\n".join(lines)
