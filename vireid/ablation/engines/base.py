"""What every engine has: it carries out jobs (a configuration and steps) and says how each ended.

Planner and driver know this alone. An engine is one file, and one line in ``vireid/ablation/engines/__init__.py``.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from vireid.config import ExperimentConfig
from vireid.core.config import Strict
from vireid.experiment.context import RunContext
from vireid.experiment.progress import ProgressCallback

_SELDOM_SECONDS = 0.5


class EngineConfig(Strict):
    """Settings of an engine; each adds its own."""

    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: ``reason`` is None when every step gave its record."""

    reason: str | None
    log: Path
    killed: bool = False
    """Whether its process was ended from outside, so that another attempt may end well."""


class StoppedError(Exception):
    """The engine was stopped while somebody waited for a job; nothing is known of how it would have ended."""


class Engine(Protocol):
    """Carries out jobs, for the time of a ``with`` block; ``run_job`` is called from several threads at once."""

    at_home: bool
    """Whether jobs work on this machine in the driver's own store: with its images, its processor, its records."""

    def __enter__(self) -> Self:
        """Get ready: reach the machines and see that they can do the work.

        Raises:
            UserError: they cannot be reached, or lack something.
        """
        ...

    def __exit__(self, *error: object) -> None:
        """Leave nothing behind."""
        ...

    def default_jobs(self, wanted: int) -> int:
        """Jobs side by side where the user names no number; ``wanted`` is the study's own."""
        ...

    def check(self, steps: Collection[str]) -> None:
        """Make sure that there is a machine for each of the steps.

        Raises:
            UserError: there is none for one of them.
        """
        ...

    def fitted(self, config: ExperimentConfig, jobs: int) -> ExperimentConfig:
        """A configuration whose job takes its share beside ``jobs`` others, unless it names its threads."""
        ...

    def run_job(self, run: RunContext, steps: Sequence[str], progress: ProgressCallback, name: str = "job") -> Outcome:
        """Run steps of ``vireid.ablation.engines.worker`` for a configuration and wait until their records are in
        ``run.store``; ``<name>.log`` in the run's folder keeps what was printed.

        Raises:
            StoppedError: the engine was stopped meanwhile.
            UserError: the store cannot be read or written.
        """
        ...

    def stop(self) -> None:
        """End what is under way."""
        ...


def seldom(progress: ProgressCallback) -> ProgressCallback:
    """Progress that travels: how far a phase is at most twice a second, and when it begins and ends."""
    last: dict[str, float] = {}

    def report(phase: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - last.get(phase, -_SELDOM_SECONDS) >= _SELDOM_SECONDS:
            last[phase] = now
            progress(phase, done, total, note)

    return report
