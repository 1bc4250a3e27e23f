"""What one operation costs at one size: processor time of a process and all that it started, and wall-clock time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.growth.fit import Growth, growth

ROOT = Path(__file__).parents[2]
AGAIN_BELOW = 4.0  # seconds: what is shorter is measured twice, and the faster counts


@dataclass(frozen=True)
class Cost:
    """Of one run. Processor time is what other work on the machine changes least."""

    processor: float  # seconds, user and system
    wall: float  # seconds


@dataclass(frozen=True)
class Operation:
    """An operation at several sizes."""

    name: str
    unit: str  # of sizes
    costs: dict[int, Cost]
    limit: float | None = None  # seconds at the largest size
    note: str = ""

    @property
    def growth(self) -> Growth | None:
        """Of processor time over sizes."""
        return growth({size: cost.processor for size, cost in self.costs.items()})

    @property
    def verdict(self) -> str:
        """Whether the largest size kept the limit; empty where none was asked for."""
        if self.limit is None:
            return ""
        largest = self.costs[max(self.costs)]
        return "kept" if largest.processor <= self.limit else "MISSED"

    def as_json(self) -> dict[str, Any]:
        """What a record keeps of it."""
        fitted = self.growth
        return {
            "operation": self.name,
            "unit": self.unit,
            "costs": {str(size): asdict(cost) for size, cost in self.costs.items()},
            "exponent": None if fitted is None else fitted.exponent,
            "exponent_standard_error": None if fitted is None else fitted.error,
            "limit_seconds": self.limit,
            "verdict": self.verdict,
            "note": self.note,
        }


def spent(command: Sequence[str | Path], cache: Path, codes: Collection[int] = (0,)) -> tuple[Cost, str]:
    """Run a command in a fresh process, with its user's cache folder there; its cost and what it printed.

    ``codes`` are the exit codes that count as done.

    Raises:
        SystemExit: the command failed; what it wrote to standard error is the message.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in codes:
        shown = " ".join(map(str, command))[:300]
        raise SystemExit(f"{shown}: exit code {done.returncode}: {done.stderr.strip()[-600:]}")
    return Cost(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall), done.stdout


def python(code: str) -> list[str]:
    """The command that runs ``code`` in this interpreter."""
    return [sys.executable, "-c", code]


def vireid(*words: str | Path) -> list[str]:
    """The command line of ``vireid WORDS``, by this interpreter."""
    argv = ["vireid", *map(str, words)]
    return python(f"import sys; sys.argv = {argv!r}; from vireid.cli import main; main()")


def fastest(command: Sequence[str | Path], cache: Path, codes: Collection[int] = (0,)) -> Cost:
    """The cost of a command; of a short one the faster of two runs."""
    cost = spent(command, cache, codes)[0]
    if cost.processor >= AGAIN_BELOW:
        return cost
    return min(cost, spent(command, cache, codes)[0], key=lambda c: c.processor)
