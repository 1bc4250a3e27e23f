"""Present power from files of the kernel: INA monitors on boards, batteries of laptops.

Units are those of the kernel's interfaces: hwmon has microwatts, milliamperes and millivolts
(``Documentation/hwmon/sysfs-interface``), power supplies microwatts, microamperes and microvolts
(``Documentation/ABI/testing/sysfs-class-power``).
"""

from __future__ import annotations

import re
from pathlib import Path

from .reading import Reading, number_of, text_of, why_unreadable

MONITORS = "sys/class/hwmon"
SUPPLIES = "sys/class/power_supply"
# The rail that feeds a whole Jetson module; its name depends on the board.
MODULE_INPUTS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0")


def ina_power(root: Path = Path("/")) -> Reading:
    """Watts of one rail that an INA chip measures: the module's input where a label names it, else the first.

    Rails are not added up: on most boards one feeds the others.
    """
    monitors = [m for m in _entries(root / MONITORS) if (text_of(m / "name") or "").startswith("ina")]
    rails = [rail for monitor in monitors for rail in _rails(monitor)]
    if not rails:
        return Reading(None, reason=_no_rail(root, monitors))
    watts, source, _ = min(rails, key=lambda rail: rail[2] not in MODULE_INPUTS)
    return Reading(watts, "W", source)


def _rails(monitor: Path) -> list[tuple[float, str, str]]:
    """Watts, source and label of every channel of a monitor that tells its power, or current and voltage."""
    channels = sorted({int(m[1]) for f in _entries(monitor) if (m := re.match(r"(?:power|curr)(\d+)_input$", f.name))})
    rails = []
    for channel in channels:
        power, current, voltage = (number_of(monitor / f"{of}{channel}_input") for of in ("power", "curr", "in"))
        label = text_of(monitor / f"in{channel}_label") or text_of(monitor / f"power{channel}_label") or ""
        where = f"{MONITORS}/{monitor.name} {text_of(monitor / 'name')}, " + (label or f"channel {channel}")
        if power is not None:
            rails.append((power / 1e6, where, label))
        elif current is not None and voltage is not None:
            rails.append((current * voltage / 1e6, f"{where}, current × voltage", label))
    return rails


def _no_rail(root: Path, monitors: list[Path]) -> str:
    if not monitors:
        return f"no INA monitor under {root / MONITORS}"
    for name in ("power1_input", "curr1_input", "in1_input"):
        if (monitors[0] / name).exists():
            return why_unreadable(monitors[0] / name)
    return f"{monitors[0]} has neither power nor current"


def battery_power(root: Path = Path("/")) -> Reading:
    """Watts that the machine's batteries give; the whole machine's power while it is off the mains."""
    batteries = [
        supply
        for supply in _entries(root / SUPPLIES)
        if text_of(supply / "type") == "Battery" and text_of(supply / "scope") != "Device"  # not a mouse's
    ]
    if not batteries:
        return Reading(None, reason=f"no battery under {root / SUPPLIES}")
    giving = [battery for battery in batteries if text_of(battery / "status") == "Discharging"]
    if not giving:
        state = text_of(batteries[0] / "status") or "state unknown"
        return Reading(None, reason=f"{batteries[0]} is not discharging ({state}): unplug the mains")
    total, sources = 0.0, []
    for battery in giving:
        power, voltage, current = (number_of(battery / f"{name}_now") for name in ("power", "voltage", "current"))
        if power is not None:  # without its sign: some drivers count a discharge below zero
            total, source = total + abs(power) / 1e6, battery.name
        elif voltage is not None and current is not None:
            total, source = total + abs(voltage * current) / 1e12, f"{battery.name}, current × voltage"
        else:
            lacking = "power_now" if (battery / "power_now").exists() else "current_now"
            return Reading(None, reason=why_unreadable(battery / lacking))
        sources.append(source)
    return Reading(total, "W", f"battery {' and '.join(sources)}")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
