"""A value that a sensor gave, or why it gave none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reading:
    """``value`` in ``unit`` as ``source`` (a file or a command) gave it; None with the ``reason``."""

    value: Any
    unit: str | None = None
    source: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, with ``value`` in any case."""
        return {key: value for key, value in asdict(self).items() if key == "value" or value is not None}


def text_of(path: Path) -> str | None:
    """Content of a file without surrounding space; None where it is absent or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """Whole number in a file; None where there is none."""
    try:
        return int(text_of(path) or "")
    except ValueError:
        return None


def why_unreadable(path: Path) -> str:
    """The operating system's reason why a file or folder cannot be read; what it lacks where it can."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)
            return f"{path} holds no such sensor"
        path.read_bytes()
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return f"{path} holds no number"
