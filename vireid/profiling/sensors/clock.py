"""Clock of the processor: governor, bounds and present frequency, from ``cpufreq``."""

from __future__ import annotations

from pathlib import Path

from .reading import Reading, number_of, text_of, why_unreadable

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
    found: dict[str, float] = {}
    for name, (file, choose) in bounds.items():
        values = [value for folder in folders if (value := number_of(folder / file)) is not None]
        if values:
            found[name] = choose(values) / 1000
    current = current_mhz(root)
    if current.value is not None:
        found["current"] = current.value
    if not found:
        return Reading(None, reason=current.reason)
    return Reading(found, "MHz", current.source or "cpufreq")


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
