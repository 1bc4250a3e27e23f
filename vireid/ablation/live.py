"""A study on a terminal while it runs: one table of its cells with state, epoch, loss and time left."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from vireid.experiment.progress import Display, Lines, Phase, as_text

_OTHER_LINES = 6  # of a terminal: the whole, the head, the foot, and where a shell prints on
_GAP = 2  # characters between columns
_LEAST = 8  # characters of a cell's name
_STEPS = 2  # of a cell: its fit and its profile


@dataclass
class Row:
    """A cell at one seed; ``title`` is what its jobs are called."""

    title: str
    cell: str
    seed: str
    ended: int = 0
    failed: bool = False
    phase: Phase | None = None

    @property
    def state(self) -> str:
        """``waiting``, the phase that it is in, ``trained``, ``done`` or ``failed``."""
        if self.phase is not None:
            return self.phase.name
        return "failed" if self.failed else ("waiting", "trained", "done")[min(self.ended, _STEPS)]


def study_display(console: Console, rows: Sequence[Row]) -> Display:
    """The table on a terminal, lines elsewhere."""
    return StudyTable(console, rows) if console.is_terminal else Lines(console)


class StudyTable:
    """Cells that run, that failed and that come next, as many as the terminal has lines for; the others are counted."""

    def __init__(self, console: Console, rows: Sequence[Row]) -> None:
        self._console, self._rows = console, {row.title: row for row in rows}
        self._whole: tuple[str, int, int, Callable[[], float | None]] | None = None
        self._lock = threading.RLock()
        self._live = Live(console=console, get_renderable=self.drawn, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the table as it is."""
        self._live.stop()

    def job(self, title: str = "") -> "_JobOfRow":
        """Follow a piece of work in the row of that title; work of no cell has a row while it lasts."""
        with self._lock:
            row = self._rows.get(title) or Row(title, title, "")
            self.report(row, "starting", 0, 0, "")
            return _JobOfRow(self, row)

    def say(self, line: str) -> None:
        """Print above the table."""
        self._console.print(line, style="dim", soft_wrap=True)

    def overall(self, name: str, done: int, total: int, left: Callable[[], float | None]) -> None:
        """Take in how far the whole is."""
        with self._lock:
            self._whole = (name, done, total, left)

    def report(self, row: Row, phase: str, done: int, total: int, note: str) -> None:
        """Take in an event."""
        with self._lock:
            self._rows.setdefault(row.title, row)
            if row.phase is None or row.phase.name != phase:
                row.phase = Phase(phase, time.monotonic(), done)
            row.phase.done, row.phase.total, row.phase.note = done, total, note

    def close(self, row: Row, *, failed: bool) -> None:
        """Note that a row's job has ended."""
        with self._lock:
            row.phase, row.ended, row.failed = None, row.ended + 1, row.failed or failed
            if not row.seed:
                self._rows.pop(row.title, None)

    def drawn(self) -> RenderableType:
        """What the terminal shows now."""
        with self._lock:
            return Group(*self._head(), *self._body(max(3, self._console.height - _OTHER_LINES)))

    def _head(self) -> Iterator[RenderableType]:
        if self._whole is None:
            return
        name, done, total, left = self._whole
        seconds = left()
        head = Table.grid(*(Column(no_wrap=True) for _ in range(4)), padding=(0, 1))
        head.add_row(
            f"study {name}",
            ProgressBar(total=total, completed=done, width=20),
            f"{done}/{total}",
            Text("" if seconds is None or done == total else f"{as_text(seconds)} left", style="cyan"),
        )
        yield head

    def _body(self, room: int) -> Iterator[RenderableType]:
        rows = list(self._rows.values())
        chosen = [row for row in rows if row.phase is not None]
        chosen += [row for row in rows if row.failed and row.phase is None]
        chosen += [row for row in rows if row.state == "waiting"]
        chosen = chosen[:room]
        counts = Counter(row.state for row in rows if row not in chosen and row.seed)
        if chosen:
            yield _table(chosen, self._console.width)
        if counts:
            states = "waiting", "trained", "done", "failed"
            told = [f"{counts[state]} {state}" for state in states if counts[state]]
            yield Text(f"{'… ' if chosen else ''}{', '.join(told)}", style="dim")


def _table(rows: Sequence[Row], width: int) -> Table:
    """Where room is short, it is the cell's name that gives way."""
    now = time.monotonic()
    lines = [("cell", "seed", "state", "at", "left"), *(_texts(row, now) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    widths[0] = max(_LEAST, min(widths[0], width - sum(widths[1:]) - _GAP * (len(widths) - 1)))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for name, columns in zip(lines[0], widths, strict=True):
        table.add_column(name, no_wrap=True, width=columns, justify="right" if name == "seed" else "left")
    for row, line in zip(rows, lines[1:], strict=True):
        table.add_row(*(Text(text, overflow="ellipsis") for text in line), style=_style(row))
    return table


def _texts(row: Row, now: float) -> tuple[str, str, str, str, str]:
    phase, at, left = row.phase, "", None
    if phase is not None:
        at = phase.note or (f"{phase.done}/{phase.total}" if phase.total > 1 else "")
        left = phase.left(now) if phase.done < phase.total else None
    return row.cell, row.seed, row.state, at, "" if left is None else as_text(left)


def _style(row: Row) -> str:
    return "" if row.phase is not None else "red" if row.failed else "dim"


class _JobOfRow:
    def __init__(self, table: StudyTable, row: Row) -> None:
        self._table, self._row = table, row

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        self._table.report(self._row, phase, done, total, note)

    def close(self, *, failed: bool = False) -> None:
        self._table.close(self._row, failed=failed)
