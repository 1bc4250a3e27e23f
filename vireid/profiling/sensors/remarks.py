"""Remarks on a measurement from what the sensors said before and after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
