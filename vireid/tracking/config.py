"""Settings of trackers, and what every tracker is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from vireid.core.config import Component


class TrackerConfig(Component):
    """Settings of a tracker; each adds its own."""

    directory: Path | None = None
    """Where it writes; a folder named after the tracker in the store by default."""


class TensorBoardConfig(TrackerConfig):
    """Event files, for ``tensorboard --logdir``."""

    name: Literal["tensorboard"] = "tensorboard"


class Tracker(Protocol):
    """Takes in what becomes known of one fit; built with its settings, the folder of this fit, and its configuration.

    A tracker decides nothing: what it cannot write is lost to it alone.
    """

    def __init__(self, config: Any, directory: Path, settings: Mapping[str, Any]) -> None:
        """Get ready.

        Raises:
            UserError: what it needs is not installed.
        """
        ...

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """An epoch has ended: its entry of the learning curves, as the fit's record keeps it."""
        ...

    def scores(self, protocol: str, metrics: Mapping[str, float]) -> None:
        """The finished fit was evaluated under a protocol; fractions."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...
