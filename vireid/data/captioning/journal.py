"""Texts that take hours to make, kept batch by batch, so that a killed run takes up where it stopped."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError

Progress = Callable[[int, int], None]


def in_batches(
    target: Path,
    keys: Sequence[str],
    make: Callable[[int, Sequence[str]], Sequence[str]],
    settings: Mapping[str, Any],
    *,
    size: int,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make a text for every key, a batch at a time, and note each finished batch beside ``target``.

    Batches are cut by position, so that what has been made before decides nothing about what is made after.

    Args:
        target: file that the caller will write from the result, after which ``forget`` removes the notes.
        keys: what to make texts for.
        make: batch number and keys → texts; a function of these and the settings alone.
        settings: what decides the texts; notes of other settings are refused.
        size: keys per batch.
        progress: called with texts made and their number in all.

    Raises:
        UserError: notes of another run, or a place that cannot be written.
    """
    notes = _notes(target)
    head = {"settings": {**settings, "batch": size}, "keys": len(keys)}
    done = _read(notes, head)
    try:
        notes.parent.mkdir(parents=True, exist_ok=True)
        with notes.open("a", encoding="utf-8") as file:
            if not done and notes.stat().st_size == 0:
                _note(file, head)
            for number, start in enumerate(range(0, len(keys), size)):
                batch = list(keys[start : start + size])
                if number not in done:
                    texts = dict(zip(batch, make(number, batch), strict=True))
                    _note(file, {"batch": number, "texts": texts})
                    done[number] = texts
                if progress is not None:
                    progress(start + len(batch), len(keys))
    except OSError as error:
        raise UserError(f"{notes}: cannot write ({error.strerror}); free some space or fix its permissions") from error
    return {key: text for texts in done.values() for key, text in texts.items()}


def forget(target: Path) -> None:
    """Remove the notes of a finished run."""
    _notes(target).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write ({error.strerror}); free some space or fix its permissions") from error


def _notes(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _note(file: Any, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _read(notes: Path, head: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Finished batches; a last line that was cut off by a kill is dropped."""
    if not notes.is_file() or notes.stat().st_size == 0:
        return {}
    lines = notes.read_bytes().splitlines(keepends=True)
    if not lines[-1].endswith(b"\n"):
        lines.pop()
        with notes.open("r+b") as file:
            file.truncate(sum(map(len, lines)))
    try:
        rows = [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise UserError(f"{notes} is damaged ({error}): remove it to begin anew") from error
    if not rows:
        return {}
    if rows[0] != json.loads(json.dumps(head)):
        raise UserError(
            f"{notes} was begun with other settings or images ({json.dumps(rows[0])[:200]}): finish it with those, or "
            "remove it to begin anew"
        )
    return {row["batch"]: row["texts"] for row in rows[1:]}
