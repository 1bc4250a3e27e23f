"""The tracker of a run, kept from doing harm: what it cannot write is said once and costs no training."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vireid.config import ExperimentConfig
from vireid.core.messages import printer
from vireid.experiment.context import RunContext
from vireid.tracking import TRACKERS
from vireid.tracking.config import Tracker


def check_tracker(config: ExperimentConfig) -> None:
    """Find out before any work whether the tracker can be loaded.

    Raises:
        UserError: what it needs is not installed, or there is no such tracker.
    """
    if (settings := config.runtime.tracker) is not None:
        TRACKERS.load(settings.name)(settings, settings.directory, {})


@contextmanager
def tracked(run: RunContext) -> Iterator["SafeTracker"]:
    """The tracker that the configuration names, for the time of a block; without one, nothing happens.

    Raises:
        UserError: as ``check_tracker``.
    """
    settings, tracker = run.config.runtime.tracker, None
    if settings is not None:
        folder = settings.directory or run.store.root / settings.name
        name = run.config.runtime.title or f"{run.config.model.name}-seed-{run.config.seed}-{run.ids.fit}"
        tracker = TRACKERS.load(settings.name)(settings, folder / name, run.config.model_dump(mode="json"))
    safe = SafeTracker(tracker)
    try:
        yield safe
    finally:
        safe.close()


class SafeTracker:
    """A tracker, or none, whose failures end it alone."""

    def __init__(self, tracker: Tracker | None) -> None:
        self._tracker = tracker

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """As ``Tracker.epoch``."""
        self._try(lambda tracker: tracker.epoch(entry))

    def scores(self, protocol: str, metrics: Mapping[str, float]) -> None:
        """As ``Tracker.scores``."""
        self._try(lambda tracker: tracker.scores(protocol, metrics))

    def close(self) -> None:
        """As ``Tracker.close``."""
        self._try(lambda tracker: tracker.close())

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            self._tracker = None
            text = (
                f"note: nothing more is tracked: {error or type(error).__name__}; the fit goes on and keeps its curves"
            )
            printer(stderr=True).print(text, soft_wrap=True)
