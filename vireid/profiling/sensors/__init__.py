"""What a machine tells of itself while it works: clock, temperature, throttling, energy; one small reader each.

The readers need the standard library alone (Python 3.9) and import each other by relative path, so that this folder
runs as it is on a device that has nothing else. Every reader takes the root of the file system, and the command runner
where it calls one; a value that cannot be read is None with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .clock import current_mhz, frequency, governor, temperatures, throttle_events
from .energy import EnergyMeter
from .reading import Reading, Run, run_command

__all__ = ["EnergyMeter", "Reading", "describe", "watch"]


def describe(root: Path = Path("/"), run: Run = run_command) -> dict[str, dict[str, Any]]:
    """Every sensor's value, unit and, where it cannot be read, the reason: name -> reading."""
    readings: dict[str, Callable[[], Reading]] = {
        "governor": lambda: governor(root),
        "frequency": lambda: frequency(root),
        "temperature": lambda: temperatures(root, run),
        "throttling": lambda: throttle_events(root, run),
        "energy": lambda: EnergyMeter(root, run).available(),
    }
    return {name: read().as_dict() for name, read in readings.items()}


def watch(root: Path = Path("/")) -> dict[str, float]:
    """Temperature and clock, from files alone and so cheap enough to read between two samples; absent ones left out."""
    readings = {"temperature_c": _hottest(root), "frequency_mhz": current_mhz(root).value}
    return {name: value for name, value in readings.items() if value is not None}


def _hottest(root: Path) -> float | None:
    zones = temperatures(root, lambda _: None).value
    return max(zones.values()) if zones else None
