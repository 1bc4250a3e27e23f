"""Progress as plain events, so that the same run can draw a bar, print lines, write to a pipe, or stay silent.

On a terminal every phase is a bar. Anywhere else (a pipe, a log, continuous integration) a line says when a phase
begins and at least every ``EVERY`` seconds how far it is, also while a single step takes longer than that.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

from rich import progress as widgets
from rich.console import Console
from rich.text import Text

from vireid.core.messages import printer

EVERY = 15.0  # seconds between two lines of a phase
_OVERALL = "study"


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


def as_text(seconds: float) -> str:
    """A duration as people read it: ``40 s``, ``3:20 min``, ``2:05 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


class Job(ProgressCallback, Protocol):
    """Progress of one piece of work; ``close`` ends its display."""

    def close(self, *, failed: bool = False) -> None:
        """Take its bars away, or print no further line of it; ``failed`` says how it ended."""
        ...


class Display(Protocol):
    """Where progress is shown, for the time of a ``with`` block."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *error: object) -> None:
        """End."""
        ...

    def job(self, title: str = "") -> Job:
        """Show a piece of work; ``title`` tells those apart that run side by side."""
        ...

    def say(self, line: str) -> None:
        """Leave a line behind."""
        ...

    def overall(self, name: str, done: int, total: int, left: Callable[[], float | None]) -> None:
        """Show a whole of which jobs are parts; ``left`` gives the seconds that remain, None while nobody knows."""
        ...


def display(console: Console) -> Display:
    """Bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines(console)


@contextmanager
def bars() -> Iterator[Job]:
    """Progress of a single piece of work on standard error for the time of a block."""
    with display(printer(stderr=True)) as shown:
        yield shown.job()


class Bars:
    """Bars with counts, elapsed time and time left."""

    def __init__(self, console: Console) -> None:
        self._progress = widgets.Progress(
            widgets.SpinnerColumn(finished_text="✓"),
            widgets.TextColumn("{task.description}", markup=False),
            widgets.BarColumn(bar_width=20),
            widgets.MofNCompleteColumn(),
            widgets.TimeElapsedColumn(),
            _TimeLeft(),
            widgets.TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
        )
        self._whole: widgets.TaskID | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def job(self, title: str = "") -> _BarsOfJob:
        """Draw a bar for every phase of a piece of work."""
        return _BarsOfJob(self._progress, f"{title}: " if title else "")

    def say(self, line: str) -> None:
        """Print above the bars."""
        self._progress.console.print(line, style="dim")

    def overall(self, name: str, done: int, total: int, left: Callable[[], float | None]) -> None:
        """Draw the whole as the first bar."""
        if self._whole is None:
            self._whole = self._progress.add_task(f"{_OVERALL} {name}", total=total, note="", left=left)
        self._progress.update(self._whole, completed=done, total=total)


class _TimeLeft(widgets.ProgressColumn):
    """What a task says of its own time left, else what its speed says."""

    def render(self, task: widgets.Task) -> Text:
        left = task.fields.get("left")
        seconds = left() if left is not None else task.time_remaining
        return Text("" if seconds is None or task.finished else f"{as_text(seconds)} left", style="cyan")


class _BarsOfJob:
    def __init__(self, progress: widgets.Progress, prefix: str) -> None:
        self._progress, self._prefix = progress, prefix
        self._tasks: dict[str, widgets.TaskID] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(self._prefix + phase, total=total, note=note)
        self._progress.update(self._tasks[phase], completed=done, total=total, note=note)

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()


@dataclass
class Phase:
    """Where a job stands since its phase began at ``begun``, and when its last line was printed."""

    name: str
    begun: float
    first: int  # what was done by then
    done: int = 0
    total: int = 0
    note: str = ""
    printed: float = field(default=0.0)

    def left(self, now: float) -> float | None:
        """Seconds that remain at the speed so far."""
        gone = self.done - self.first
        return None if gone <= 0 else (now - self.begun) / gone * (self.total - self.done)


class Lines:
    """Plain lines: elapsed time, the whole where there is one, the job, its phase and what it says of itself."""

    def __init__(self, console: Console, every: float = EVERY) -> None:
        self._console, self._every = console, every
        self._begun = time.monotonic()
        self._lock = threading.RLock()
        self._open: dict[_LinesOfJob, Phase | None] = {}
        self._whole: tuple[int, int, Callable[[], float | None]] | None = None
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        """Start the clock that speaks when a phase is silent."""
        self._clock.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop it."""
        self._ended.set()
        self._clock.join()

    def job(self, title: str = "") -> _LinesOfJob:
        """Print lines of a piece of work."""
        job = _LinesOfJob(self, title)
        with self._lock:
            self._open[job] = None
        return job

    def say(self, line: str) -> None:
        """Print a line with the time since the beginning before it."""
        with self._lock:
            gone = int(time.monotonic() - self._begun)
            self._console.print(f"[{gone // 60:02d}:{gone % 60:02d}] {line}", soft_wrap=True)

    def overall(self, name: str, done: int, total: int, left: Callable[[], float | None]) -> None:  # noqa: ARG002
        """Remember the whole; every line says what is left of it."""
        with self._lock:
            self._whole = (done, total, left)

    def report(self, job: _LinesOfJob, phase: str, done: int, total: int, note: str) -> None:
        """Take in an event; say so where a phase begins, or the last line of it is old."""
        with self._lock:
            now, current = time.monotonic(), self._open.get(job)
            if current is None or current.name != phase:
                current = Phase(phase, now, done, printed=now)
                self._open[job] = current
                fresh = done < total or total == 0
            else:
                fresh = False
            current.done, current.total, current.note = done, total, note
            if fresh or now - current.printed >= self._every:
                self._print(job, current, now)

    def close(self, job: _LinesOfJob) -> None:
        """Say nothing more of a job."""
        with self._lock:
            self._open.pop(job, None)

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            with self._lock:
                now = time.monotonic()
                for job, phase in list(self._open.items()):
                    if phase is not None and phase.done < phase.total and now - phase.printed >= self._every:
                        self._print(job, phase, now)

    def _print(self, job: _LinesOfJob, phase: Phase, now: float) -> None:
        phase.printed = now
        counted = f" {phase.done}/{phase.total}" if phase.total > 1 else ""
        pieces = [f"{phase.name}{counted}", phase.note]
        if (left := phase.left(now)) is not None and phase.done < phase.total:
            pieces.append(f"{as_text(left)} left of it")
        if self._whole is not None:
            remaining = self._whole[2]()
            pieces.append("" if remaining is None else f"{as_text(remaining)} left of the study")
        self.say((f"{job.title}: " if job.title else "") + ", ".join(filter(None, pieces)))


class _LinesOfJob:
    def __init__(self, lines: Lines, title: str) -> None:
        self._lines, self.title = lines, title

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        self._lines.report(self, phase, done, total, note)

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002
        self._lines.close(self)
