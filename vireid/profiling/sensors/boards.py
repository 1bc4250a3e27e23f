"""Power of boards without counters: the Jetson's ``tegrastats``, the Raspberry Pi 5's ``vcgencmd pmic_read_adc``."""

from __future__ import annotations

import re

from .commands import Run, run_command
from .reading import Reading

# The rail that feeds the whole module comes first; its name depends on the board.
JETSON_INPUT = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0")


def power(run: Run = run_command) -> Reading:
    """Present power in watts, as the board's own tool measures it."""
    for name, read in (("tegrastats", _tegrastats), ("vcgencmd pmic_read_adc", _pmic)):
        found = read(run)
        if found is not None:
            return Reading(found[0], "W", f"{name}, {found[1]}")
    return Reading(None, reason="no tegrastats, no vcgencmd with pmic_read_adc")


def _tegrastats(run: Run) -> tuple[float, str] | None:
    # "… VDD_IN 5012mW/4987mW …" or, on older releases, "… POM_5V_IN 2345/2300 …": present and mean, in milliwatts
    line = (run(["tegrastats", "--interval", "500"]) or "").strip().splitlines()
    if not line:
        return None
    rails = {name: int(value) for name, value in re.findall(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?", line[-1])}
    for rail in JETSON_INPUT:
        if rail in rails:
            return rails[rail] / 1000, rail
    return None


def _pmic(run: Run) -> tuple[float, str] | None:
    # Lines "VDD_CORE_A current(7)=1.41A" and "VDD_CORE_V volt(15)=0.72V"; a rail's power is their product.
    text = run(["vcgencmd", "pmic_read_adc"]) or ""
    amperes = dict(re.findall(r"(\w+)_A current\(\d+\)=(\d+(?:\.\d+)?)A", text))
    volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=(\d+(?:\.\d+)?)V", text))
    rails = sorted(amperes.keys() & volts.keys())
    if not rails:
        return None
    return sum(float(amperes[rail]) * float(volts[rail]) for rail in rails), f"{len(rails)} rails of the chip"
