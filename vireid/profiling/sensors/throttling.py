"""How often the processor was slowed down: Intel's counters, or the Raspberry Pi firmware's flags."""

from __future__ import annotations

import re
from pathlib import Path

from .clock import CPUS
from .commands import Run, run_command
from .reading import Reading, number_of

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
