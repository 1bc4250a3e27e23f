"""Latency records as the suite reads them, with what decides their ids (standard library alone).

A record file is JSON: ``format``, ``version``, ``bundle`` (digest of the manifest), ``vireid`` (version that wrote the
bundle), ``by`` (who measured, or None), ``device`` (the device card, see ``machine.card``), ``checks`` (of each model's
features) and ``records``, each with its ``specification`` (the record's id is the first 12 hex digits of the SHA-256
over its canonical JSON), the ``digest`` of the record's canonical JSON, and the ``record``. Version 1 had no
``vireid``, ``by``, ``device`` and ``checks``.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FORMAT, VERSION = "vireid bundle records", 2
ID_LENGTH = 12
REASON_LENGTH = 900  # characters
SPECIFIED = ("artefact", "runtime", "threads", "batch")  # that a specification and its record both hold


def canonical_json(data: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN, as ``vireid.core.config`` writes it."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(data: Any) -> str:
    """SHA-256 over canonical JSON."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def run_id(specification: Mapping[str, Any]) -> str:
    """The id of what a specification decides."""
    return digest_of(specification)[:ID_LENGTH]


def now() -> str:
    """Current time, UTC, ISO 8601 with seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def specification(
    model: Mapping[str, Any],
    *,
    threads: int,
    batch: int,
    budget: Mapping[str, float],
    sustained_seconds: float | None,
    device: Mapping[str, Any],
    search: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What decides a measurement. ``by`` tells it from one of the suite, whose process holds PyTorch as well."""
    specified: dict[str, Any] = {
        "kind": "latency",
        "by": "bundle",
        "artefact": model["graph"],
        "runtime": model["runtime"],
        "threads": threads,
        "batch": batch,
        "budget": dict(budget),
        "device": dict(device),
        "accelerator": "cpu",
        "isolate": True,
    }
    if sustained_seconds is not None:
        specified["sustained_seconds"] = sustained_seconds
    if search is not None:
        specified["stages"] = dict(search)
    return specified


def latency_record(
    model: Mapping[str, Any],
    specified: Mapping[str, Any],
    answer: Mapping[str, Any],
    environment: Mapping[str, Any],
    *,
    started: str,
    made_by: str,
) -> dict[str, Any]:
    """One record from the answer of an isolated process; ``made_by`` is its first note."""
    measured = dict(answer["result"])
    notes = [made_by, *answer["notes"], *measured.pop("notes", [])]
    return {
        "schema_version": 1,
        "kind": "latency",
        "id": run_id(specified),
        "status": answer["status"],
        "reason": _printable(answer["reason"]),
        "data_kind": model["data_kind"],
        "environment": dict(environment),
        "started": started,
        "ended": now(),
        **{name: specified[name] for name in SPECIFIED},
        "precision": model["precision"],
        "resolution": list(model["resolution"]),
        "affinity": answer["affinity"],
        "isolated": True,
        "size_bytes": model["bytes"],
        "notes": notes,
        **measured,
    }


def _printable(text: str | None) -> str | None:
    """A reason, with the last words of a process that died: its end without what a terminal would obey."""
    if text is None:
        return None
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[-REASON_LENGTH:]


def write_records(
    path: Path, heading: Mapping[str, Any], records: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> None:
    """Write specifications and records as one file, whole or not at all.

    Args:
        path: of the file.
        heading: what it says of all of them: ``bundle``, ``vireid``, ``by``, ``device``, ``checks``.
        records: specification and record of each.

    Raises:
        OSError: the place cannot be written.
    """
    entries = [{"specification": s, "digest": digest_of(r), "record": r} for s, r in records]
    content = {"format": FORMAT, "version": VERSION, **heading, "records": entries}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
