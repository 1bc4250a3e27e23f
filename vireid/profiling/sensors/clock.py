"""The processor's clock (``cpufreq``) and what holds it down: temperature and throttling."""

from __future__ import annotations

import re
from pathlib import Path

from .reading import Reading, Run, number_of, run_command, text_of, why_unreadable

CPUS = "sys/devices/system/cpu"


def governor(root: Path = Path("/")) -> Reading:
    """Name of the policy that sets the clock (``performance``, ``powersave`` …), of all cores where they differ."""
    folders = _folders(root)
    names = {name for folder in folders if (name := text_of(folder / "scaling_governor"))}
    if not names:
        return Reading(None, reason=_missing(root, folders, "scaling_governor"))
    return Reading(", ".join(sorted(names)), source="cpufreq")


def frequency(root: Path = Path("/")) -> Reading:
    """Lowest and highest that the hardware allows and the present mean over cores: ``min``, ``max``, ``current``."""
    folders = _folders(root)
    bounds = {"min": ("cpuinfo_min_freq", min), "max": ("cpuinfo_max_freq", max)}
    values_of: dict[str, float] = {}
    for name, (file, choose) in bounds.items():
        values = [value for folder in folders if (value := number_of(folder / file)) is not None]
        if values:
            values_of[name] = choose(values) / 1000
    current = current_mhz(root)
    if current.value is not None:
        values_of["current"] = current.value
    if not values_of:
        return Reading(None, reason=current.reason)
    return Reading(values_of, "MHz", current.source or "cpufreq")


def current_mhz(root: Path = Path("/")) -> Reading:
    """Present clock, mean over cores: from ``cpufreq``, else from ``/proc/cpuinfo`` (virtual machines)."""
    folders = _folders(root)
    values = [value / 1000 for folder in folders if (value := number_of(folder / "scaling_cur_freq")) is not None]
    source = "cpufreq"
    if not values:
        lines = (text_of(root / "proc/cpuinfo") or "").splitlines()
        values = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
        source = "/proc/cpuinfo"
    if not values:
        return Reading(None, reason=_missing(root, folders, "scaling_cur_freq"))
    return Reading(sum(values) / len(values), "MHz", source)


def _folders(root: Path) -> list[Path]:
    return sorted((root / CPUS).glob("cpu[0-9]*/cpufreq"))


def _missing(root: Path, folders: list[Path], file: str) -> str:
    if not folders:
        return f"no cpufreq under {root / CPUS}: the clock is the host's or the firmware's affair"
    return why_unreadable(folders[0] / file)


ZONES = "sys/class/thermal"
MONITORS = "sys/class/hwmon"
OF_PROCESSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})  # drivers that measure the processor


def temperatures(root: Path = Path("/"), run: Run = run_command) -> Reading:
    """Degrees Celsius by sensor."""
    degrees: dict[str, float] = {}
    for zone in sorted((root / ZONES).glob("thermal_zone*")):
        _add(degrees, text_of(zone / "type") or zone.name, number_of(zone / "temp"))
    if degrees:
        return Reading(degrees, "°C", ZONES)
    for monitor in sorted((root / MONITORS).glob("hwmon*")):
        driver = text_of(monitor / "name") or monitor.name
        if driver in OF_PROCESSORS:
            for file in sorted(monitor.glob("temp*_input")):
                label = text_of(file.with_name(file.name.replace("_input", "_label"))) or file.name[: -len("_input")]
                _add(degrees, f"{driver} {label}", number_of(file))
    if degrees:
        return Reading(degrees, "°C", MONITORS)
    match = re.search(r"temp=(-?\d+(?:\.\d+)?)", run(["vcgencmd", "measure_temp"]) or "")
    if match:
        return Reading({"vcgencmd": float(match[1])}, "°C", "vcgencmd measure_temp")
    return Reading(None, reason=f"no thermal zone, no processor's monitor under {root / 'sys/class'}, no vcgencmd")


def _add(degrees: dict[str, float], name: str, thousandths: int | None) -> None:
    if thousandths is None:  # a sensor may be there and refuse (a powered-down part)
        return
    unique, number = name, 2
    while unique in degrees:
        unique, number = f"{name} {number}", number + 1
    degrees[unique] = thousandths / 1000


# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd").
FLAGS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}


def throttle_events(root: Path = Path("/"), run: Run = run_command) -> Reading:
    """Counts since boot (Intel: by core and package) or the names of the flags that are set (Raspberry Pi)."""
    counts: dict[str, int] = {}
    for name in ("core_throttle_count", "package_throttle_count"):
        files = sorted((root / CPUS).glob(f"cpu[0-9]*/thermal_throttle/{name}"))
        values = [value for file in files if (value := number_of(file)) is not None]
        if values:  # each core has its own count; every core of a package shows the package's
            counts[name] = sum(values) if name.startswith("core") else max(values)
    if counts:
        return Reading(counts, "events since boot", "thermal_throttle")
    match = re.search(r"throttled=(0x[0-9a-fA-F]+)", run(["vcgencmd", "get_throttled"]) or "")
    if match:
        bits = int(match[1], 16)
        return Reading([name for bit, name in FLAGS.items() if bits >> bit & 1], None, "vcgencmd get_throttled")
    return Reading(None, reason=f"no thermal_throttle under {root / CPUS}, no vcgencmd")
