"""What heat and power come to: the rate of the first seconds beside the one that lasts, energy above idle."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...profiling.sensors import EnergyMeter
from ...profiling.sensors.reading import Run, run_command

FIRST_SECONDS = 10.0  # of a sustained run, before the board is warm
LAST_SECONDS = 60.0  # in which it is as warm as it gets
FEW_READINGS = 5  # of power, below which its mean tells little


def sustained(
    seconds: Sequence[float], batch: int, windows: Sequence[Mapping[str, Any]], drop: float
) -> dict[str, Any] | None:
    """Images a second at either end of a sustained run, and whether it throttled; None of any other run.

    Args:
        seconds: samples, one after the other.
        batch: images of each.
        windows: of ``vireid.profiling.sampling``, with temperature and clock where they can be read.
        drop: share of the first rate; a run that loses more is called throttled.

    Returns:
        ``first_seconds``, ``first_rate``, ``last_seconds``, ``last_rate`` (images a second), ``lost`` (share of the
        first rate, negative where the end is faster), ``drop``, ``throttled``; ``temperature_c`` and ``frequency_mhz``
        as pairs of the first window's and the last one's, None where not readable. Runs shorter than two minutes are
        compared by their first sixth and their last half.
    """
    if not windows:
        return None
    length = sum(seconds)
    first, last = min(FIRST_SECONDS, length / 6), min(LAST_SECONDS, length / 2)
    first_rate, last_rate = (
        batch * len(taken) / sum(taken) for taken in (_until(seconds, first), _until(reversed(seconds), last))
    )
    lost = 1 - last_rate / first_rate
    pairs = {name: _ends(windows, name) for name in ("temperature_c", "frequency_mhz")}
    return {
        "first_seconds": first,
        "first_rate": first_rate,
        "last_seconds": last,
        "last_rate": last_rate,
        "lost": lost,
        "drop": drop,
        "throttled": lost > drop,
        **pairs,
    }


def _until(seconds: Iterable[float], length: float) -> list[float]:
    taken: list[float] = []
    total = 0.0
    for second in seconds:
        taken.append(second)
        total += second
        if total >= length:
            break
    return taken


def _ends(windows: Sequence[Mapping[str, Any]], name: str) -> list[float] | None:
    ends = [window.get(name) for window in (windows[0], windows[-1])]
    return None if None in ends else [float(str(end)) for end in ends]


def idle(seconds: float, root: Path = Path("/"), run: Run = run_command) -> EnergyMeter:
    """Do nothing for so long with everything loaded; what that used."""
    with EnergyMeter(root, run) as meter:
        if meter.method is not None:
            time.sleep(seconds)
    return meter


def power(resting: EnergyMeter, working: EnergyMeter, images: int) -> dict[str, Any]:
    """Energy of a query, and of it what lies above idle; or the ``reason`` why there is none.

    Args:
        resting: as ``idle`` gives it.
        working: of the measurement.
        images: that it handled.

    Returns:
        ``source``, ``idle_watts``, ``idle_seconds``, ``watts``, ``seconds`` (of work), ``joules_per_image`` (idle
        share included), ``joules_per_image_above_idle`` (in which idle power is subtracted), ``readings`` (None of
        counters).
    """
    for meter in (resting, working):
        if meter.joules is None:
            return {"reason": f"not available here, because {meter.reason}"}
    assert resting.joules is not None
    assert working.joules is not None
    idle_watts = resting.joules / resting.elapsed
    above = working.joules - idle_watts * working.elapsed
    return {
        "source": working.method,
        "idle_watts": idle_watts,
        "idle_seconds": resting.elapsed,
        "watts": working.joules / working.elapsed,
        "seconds": working.elapsed,
        "joules_per_image": working.joules / images,
        "joules_per_image_above_idle": above / images,
        "readings": working.readings,
    }


def heat_note(found: Mapping[str, Any]) -> str:
    """A sustained run in one sentence: both rates, and whether it throttled, with what fell or rose meanwhile."""
    rates = (
        f"first {found['first_seconds']:.3g} s {found['first_rate']:.2f} images/s, "
        f"last {found['last_seconds']:.3g} s {found['last_rate']:.2f} images/s ({-100 * found['lost']:+.1f} %)"
    )
    share = f"{100 * found['drop']:g} %"
    if not found["throttled"]:
        return f"sustained: {rates}: holds its rate within {share}"
    units = (("temperature_c", "°C"), ("frequency_mhz", "MHz"))
    seen = [f"{found[name][0]:.0f} → {found[name][1]:.0f} {unit}" for name, unit in units if found[name] is not None]
    cause = ", ".join(seen) or "neither temperature nor clock can be read here, so that the cause is not known"
    return f"throttled: {rates}: loses more than {share}; {cause}"


def power_note(found: Mapping[str, Any]) -> str:
    """Energy of a query in one sentence, or why there is none."""
    if "reason" in found:
        return f"energy {found['reason']}"
    text = (
        f"energy: {found['joules_per_image']:.4g} J a query, {found['joules_per_image_above_idle']:.4g} J of it above "
        f"idle ({found['watts']:.3g} W working, {found['idle_watts']:.3g} W idle; {found['source']})"
    )
    if found["joules_per_image_above_idle"] <= 0:
        text += "; not told from idle: measure longer, and while nothing else runs"
    elif found["readings"] is not None and found["readings"] < FEW_READINGS:
        text += f"; of {found['readings']} readings alone: measure longer (--seconds, --sustained)"
    return text
