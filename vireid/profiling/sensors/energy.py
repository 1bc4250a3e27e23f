"""Energy of a stretch of work: from counters where the processor has them, else from the board's power."""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from . import boards, rapl
from .commands import Run, run_command
from .reading import Reading

if TYPE_CHECKING:
    from typing import Self  # of Python 3.11, which a device need not have

SAMPLING_SECONDS = 1.0  # asking a board's tool starts a process: more often would be measured with the rest


class EnergyMeter:
    """Context manager; afterwards ``joules`` holds what the whole processor or board used inside, idle share included.

    None where nothing can be read; ``method`` or ``reason`` says how or why not. Nothing is subtracted: the figure
    is of the machine, not of the process, so only a machine that does nothing else tells what the work costs.
    """

    def __init__(self, root: Path = Path("/"), run: Run = run_command, interval: float = SAMPLING_SECONDS) -> None:
        self._root, self._run, self._interval = root, run, interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watts: list[float] = []
        self._counters: dict[str, rapl.Counter] = {}
        self._begin = 0.0
        self.joules: float | None = None
        self.method: str | None = None
        self.reason: str | None = None

    def available(self) -> Reading:
        """Which source there is; its reading's value is None where there is none."""
        counters = rapl.available(self._root)
        if counters.value is not None:
            return counters
        board = boards.power(self._run)
        if board.value is not None:
            return Reading([board.source], "J", f"{board.source}, sampled every {self._interval:g} s")
        return Reading(None, reason=f"{counters.reason}; {board.reason}")

    def __enter__(self) -> Self:
        source = self.available()
        self.method, self.reason = source.source, source.reason
        self._counters = rapl.packages(self._root)
        if not self._counters and source.value is not None:
            self._thread = threading.Thread(target=self._sample, name="board-power", daemon=True)
            self._thread.start()
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = time.perf_counter() - self._begin
        if self._counters:
            self.joules = rapl.joules_between(self._counters, rapl.packages(self._root))
        elif self._thread is not None:
            self._stop.set()
            self._thread.join()
            if self._watts:
                self.joules = statistics.fmean(self._watts) * elapsed
            else:
                self.reason = f"shorter than the {self._interval:g} s between two readings of the board's power"

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            watts = boards.power(self._run).value
            if watts is not None:
                self._watts.append(watts)
