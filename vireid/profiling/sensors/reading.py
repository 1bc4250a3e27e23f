"""What a sensor gave or why it gave nothing, the boards' own tools, and remarks on readings before and after."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
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


SECONDS = 2.0  # a tool that has not answered by then is taken for absent

Run = Callable[[Sequence[str]], "str | None"]  # quoted: this line is evaluated, and Python 3.9 has no such union


def run_command(command: Sequence[str]) -> str | None:
    """First lines that a command prints within two seconds; None where it is absent, fails or stays silent.

    A command that never ends (``tegrastats``) is stopped then, and what it has printed so far counts.
    """
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        result = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout
        text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
        return text or None
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout or None


def machine_notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Remarks on the clock: a governor that changes it, and throttling that was counted meanwhile."""
    notes: list[str] = []
    governor = before["governor"]["value"]
    if governor not in (None, "performance"):
        notes.append(f"the governor '{governor}' changes the clock with the load; 'performance' would hold it")
    counts = (before["throttling"]["value"], after["throttling"]["value"])
    if all(isinstance(count, Mapping) for count in counts):
        for name, count in counts[1].items():
            more = count - counts[0].get(name, count)
            if more > 0:
                notes.append(f"throttled meanwhile: {name.replace('_', ' ')} rose by {more}")
    elif counts[1] and isinstance(counts[1], list):
        now = [flag for flag in counts[1] if flag.endswith("now")]
        notes += [f"the firmware says: {', '.join(now)}"] if now else []
    return notes
