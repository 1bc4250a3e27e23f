"""Progress as plain events, so that the same run can draw a bar, write to a pipe, or stay silent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressCallback(Protocol):
    """Called with a phase, how much of it is done, its total, and a short note (a loss, a cell)."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Report progress."""
        ...


def silent(phase: str, done: int, total: int, note: str = "") -> None:
    """Report to nobody."""


def to_pipe(phase: str, done: int, total: int, note: str = "") -> None:
    """Write one JSON line to standard output, for a parent process."""
    sys.stdout.write(json.dumps({"event": "progress", "phase": phase, "done": done, "total": total, "note": note}))
    sys.stdout.write("\n")
    sys.stdout.flush()


def progress_display(console: Console) -> Progress:
    """Bars with counts, elapsed time and time left; each finished phase stays as a line."""
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
    )


class PhaseBars:
    """Draws every phase that is reported as a bar of its own; ``prefix`` tells the bars of parallel jobs apart."""

    def __init__(self, progress: Progress, prefix: str = "") -> None:
        self._progress = progress
        self._prefix = prefix
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Advance the bar of ``phase``."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(self._prefix + phase, total=total, note=note)
        self._progress.update(self._tasks[phase], completed=done, total=total, note=note)

    def clear(self) -> None:
        """Take all bars away."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()


@contextmanager
def bars() -> Iterator[PhaseBars]:
    """Progress bars on standard error for the time of a block."""
    with progress_display(Console(stderr=True)) as progress:
        yield PhaseBars(progress)
