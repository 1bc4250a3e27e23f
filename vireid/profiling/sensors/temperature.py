"""Temperature: thermal zones, hardware monitors, or the Raspberry Pi's firmware."""

from __future__ import annotations

import re
from pathlib import Path

from .commands import Run, run_command
from .reading import Reading, number_of, text_of

ZONES = "sys/class/thermal"
MONITORS = "sys/class/hwmon"
OF_PROCESSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})  # drivers that measure the processor


def temperatures(root: Path = Path("/"), run: Run = run_command) -> Reading:
    """Degrees Celsius by sensor."""
    found: dict[str, float] = {}
    for zone in sorted((root / ZONES).glob("thermal_zone*")):
        _add(found, text_of(zone / "type") or zone.name, number_of(zone / "temp"))
    if found:
        return Reading(found, "°C", ZONES)
    for monitor in sorted((root / MONITORS).glob("hwmon*")):
        driver = text_of(monitor / "name") or monitor.name
        if driver in OF_PROCESSORS:
            for file in sorted(monitor.glob("temp*_input")):
                label = text_of(file.with_name(file.name.replace("_input", "_label"))) or file.name[: -len("_input")]
                _add(found, f"{driver} {label}", number_of(file))
    if found:
        return Reading(found, "°C", MONITORS)
    match = re.search(r"temp=(-?\d+(?:\.\d+)?)", run(["vcgencmd", "measure_temp"]) or "")
    if match:
        return Reading({"vcgencmd": float(match[1])}, "°C", "vcgencmd measure_temp")
    return Reading(None, reason=f"no thermal zone, no processor's monitor under {root / 'sys/class'}, no vcgencmd")


def _add(found: dict[str, float], name: str, thousandths: int | None) -> None:
    if thousandths is None:  # a sensor may be there and refuse (a powered-down part)
        return
    unique, number = name, 2
    while unique in found:
        unique, number = f"{name} {number}", number + 1
    found[unique] = thousandths / 1000
