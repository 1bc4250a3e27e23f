"""JSON of a stranger, read to plain values: no larger, deeper, longer or wider than what it is said to be."""

import json
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError

MAX_BYTES = 16 * 2**20  # ten minutes of a millisecond each
MAX_DEPTH = 12
MAX_TEXT = 1000  # characters; the end of a dead process's log is the longest
MAX_KEYS = 200  # of one object


def read_bytes(path: Path) -> bytes:
    """Content of a file, at most as much as shows that it is too large.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_plain(data: bytes, where: str) -> dict[str, Any]:
    """JSON of a stranger as plain values: an object, no larger, deeper, longer or wider than a device writes.

    Raises:
        UserError: it is not, or has a key twice, a number that is not finite, or text that cannot be printed.
    """
    if len(data) > MAX_BYTES:
        most = MAX_BYTES // 2**20
        raise UserError(f"{where}: larger than {most} MiB, the most that is read; measure fewer models, or not so long")
    try:
        content = json.loads(data, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        raise UserError(f"{where}: nested deeper than {MAX_DEPTH} levels; no device writes that") from error
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); copy the file from the device again") from error
    if not isinstance(content, dict):
        raise UserError(f"{where}: not a record file of a bundle (`measure.py` writes them)")
    fault = _fault(content)
    if fault:
        raise UserError(f"{where}: {fault}; no device writes that")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:40]!r} stands twice")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that a measurement gives")


def _fault(content: Any) -> str:
    """What of plain values no device writes; without recursion, since they may be nested deeply."""
    stack = [(content, 1)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels"
        if isinstance(value, dict):
            if len(value) > MAX_KEYS:
                return f"an object of {len(value)} keys"
            stack += [(key, depth) for key in value]
            stack += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            stack += [(inner, depth + 1) for inner in value]
        elif isinstance(value, str):
            if len(value) > MAX_TEXT:
                return f"a text of {len(value)} characters, more than {MAX_TEXT}"
            if not value.replace("\n", "").replace("\t", "").isprintable():
                return f"text with characters that cannot be printed ({value[:40]!r})"
        elif isinstance(value, float):
            if value in (float("inf"), float("-inf")):
                return "a number that is too large"
        elif isinstance(value, int) and abs(value) >= 2**53:
            return "a number that is too large"
    return ""
