"""Energy counters of x86 processors (RAPL), through ``/sys/class/powercap``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .reading import Reading, number_of, text_of, why_unreadable

POWERCAP = "sys/class/powercap"


@dataclass(frozen=True)
class Counter:
    """Microjoules since some time ago; starts again at 0 after ``limit``."""

    microjoules: int
    limit: int


def packages(root: Path = Path("/")) -> dict[str, Counter]:
    """The counter of every processor package, by the name of its folder; empty where none can be read.

    Only packages (``intel-rapl:0``, also on AMD) are read: their parts (cores, memory controller) lie within them.
    """
    found: dict[str, Counter] = {}
    for folder in _folders(root):
        value = number_of(folder / "energy_uj")
        if value is not None:
            found[folder.name] = Counter(value, number_of(folder / "max_energy_range_uj") or 0)
    return found


def joules_between(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Energy of the packages that both readings have; a counter that started again is followed once round."""
    common = [name for name in before if name in after]
    if not common:
        return None
    total = 0
    for name in common:
        difference = after[name].microjoules - before[name].microjoules
        total += difference if difference >= 0 else difference + before[name].limit
    return total / 1e6


def available(root: Path = Path("/")) -> Reading:
    """Names of the packages with a readable counter."""
    found = packages(root)
    if found:
        return Reading(sorted(found), "J", "RAPL, whole packages")
    folders = _folders(root)
    if not folders:
        return Reading(None, reason=f"no RAPL package under {root / POWERCAP}")
    return Reading(None, reason=f"{why_unreadable(folders[0] / 'energy_uj')} (the kernel shows it to root alone)")


def _folders(root: Path) -> list[Path]:
    zones = sorted((root / POWERCAP).glob("intel-rapl:*"))
    return [zone for zone in zones if (text_of(zone / "name") or "").startswith("package")]
