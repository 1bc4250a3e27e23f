"""Energy of a stretch of work: from counters where the processor has them, else from power, read again and again.

Counters are those of x86 processors (RAPL, ``/sys/class/powercap``). Boards without have INA monitors, or tools of
their own: the Jetson's ``tegrastats``, the Raspberry Pi 5's ``vcgencmd pmic_read_adc``. Laptops have a battery.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .power import MODULE_INPUTS, battery_power, ina_power
from .reading import Reading, Run, number_of, run_command, text_of, why_unreadable
from .virtual import virtual_machine

if TYPE_CHECKING:
    from typing import Self  # of Python 3.11, which a device need not have


POWERCAP = "sys/class/powercap"


@dataclass(frozen=True)
class Counter:
    """Microjoules since some time ago; starts again at 0 after ``limit``."""

    microjoules: int
    limit: int


def rapl_packages(root: Path = Path("/")) -> dict[str, Counter]:
    """The counter of every processor package, by the name of its folder; empty where none can be read.

    Only packages (``intel-rapl:0``, also on AMD) are read: their parts (cores, memory controller) lie within them.
    """
    counters: dict[str, Counter] = {}
    for folder in _rapl_folders(root):
        value = number_of(folder / "energy_uj")
        if value is not None:
            counters[folder.name] = Counter(value, number_of(folder / "max_energy_range_uj") or 0)
    return counters


def joules_between(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Energy of the packages that both readings have; a counter that started again is followed once round.

    None where they have none in common, or one started again and does not say where it ends.
    """
    common = [name for name in before if name in after]
    if not common:
        return None
    total = 0
    for name in common:
        difference = after[name].microjoules - before[name].microjoules
        if difference < 0 and not before[name].limit:
            return None
        total += difference if difference >= 0 else difference + before[name].limit
    return total / 1e6


def rapl_available(root: Path = Path("/")) -> Reading:
    """Names of the packages with a readable counter."""
    counters = rapl_packages(root)
    if counters:
        return Reading(sorted(counters), "J", "RAPL, whole packages")
    folders = _rapl_folders(root)
    if not folders:
        return Reading(None, reason=f"no RAPL package under {root / POWERCAP}")
    return Reading(None, reason=f"{why_unreadable(folders[0] / 'energy_uj')} (the kernel shows it to root alone)")


def _rapl_folders(root: Path) -> list[Path]:
    zones = sorted((root / POWERCAP).glob("intel-rapl:*"))
    return [zone for zone in zones if (text_of(zone / "name") or "").startswith("package")]


def board_power(run: Run = run_command) -> Reading:
    """Present power in watts, as the board's own tool measures it."""
    for name, read in (("tegrastats", _tegrastats), ("vcgencmd pmic_read_adc", _pmic)):
        power = read(run)
        if power is not None:
            return Reading(power[0], "W", f"{name}, {power[1]}")
    return Reading(None, reason="no tegrastats, no vcgencmd with pmic_read_adc")


def _tegrastats(run: Run) -> tuple[float, str] | None:
    # "… VDD_IN 5012mW/4987mW …" or, on older releases, "… POM_5V_IN 2345/2300 …": present and mean, in milliwatts
    line = (run(["tegrastats", "--interval", "500"]) or "").strip().splitlines()
    if not line:
        return None
    rails = {name: int(value) for name, value in re.findall(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?", line[-1])}
    for rail in MODULE_INPUTS:
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


def present_power(root: Path = Path("/"), run: Run = run_command) -> Reading:
    """Watts of the board or the machine, from the first that tells: INA monitor, the board's own tool, battery."""
    reasons = []
    sources: list[Callable[[], Reading]] = [
        lambda: ina_power(root),
        lambda: board_power(run),
        lambda: battery_power(root),
    ]
    for read in sources:
        power = read()
        if power.value is not None:
            return power
        reasons.append(str(power.reason))
    return Reading(None, reason="; ".join(reasons))


SAMPLING_SECONDS = 1.0  # asking a board's tool starts a process: more often would be measured with the rest
FOLLOWING_SECONDS = 20.0  # in which no counter starts again twice: the smallest hold 65 kJ, minutes of any processor


class EnergyMeter:
    """Context manager; afterwards ``joules`` holds what the whole processor or board used inside, idle share included.

    None where nothing can be read; ``method`` or ``reason`` says how or why not, ``elapsed`` how many seconds it took.
    Nothing is subtracted: the figure is of the machine, not of the process, so only a machine that does nothing else
    tells what the work costs.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        run: Run = run_command,
        interval: float = SAMPLING_SECONDS,
        following: float = FOLLOWING_SECONDS,
    ) -> None:
        self._root, self._run, self._interval, self._following = root, run, interval, following
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watts: list[float] = []
        self._counters: dict[str, Counter] = {}
        self._counted: float | None = 0.0
        self._begin = 0.0
        self.elapsed = 0.0
        self.joules: float | None = None
        self.method: str | None = None
        self.reason: str | None = None

    @property
    def readings(self) -> int | None:
        """How often power was read; None of a counter, which misses nothing."""
        return None if self._counters or self.method is None else len(self._watts)

    def available(self) -> Reading:
        """Which source there is; its reading's value is None where there is none."""
        counters = rapl_available(self._root)
        if counters.value is not None:
            return counters
        power = present_power(self._root, self._run)
        if power.value is not None:
            return Reading([power.source], "J", f"{power.source}, sampled every {self._interval:g} s")
        virtual = virtual_machine(self._root)
        host = f"; a virtual machine ({virtual}), whose host keeps its power to itself" if virtual else ""
        return Reading(None, reason=f"{counters.reason}; {power.reason}{host}")

    def __enter__(self) -> Self:
        source = self.available()
        self.method, self.reason = source.source, source.reason
        self._counters = rapl_packages(self._root)
        if self._counters or source.value is not None:
            work = self._follow if self._counters else self._sample
            self._thread = threading.Thread(target=work, name="energy", daemon=True)
            self._thread.start()
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.elapsed = time.perf_counter() - self._begin
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        if self._counters:
            self._count()
            self.joules = self._counted
            if self.joules is None:
                self.reason = f"a counter under {self._root / POWERCAP} vanished, or started again and has no range"
        elif self._watts:
            self.joules = statistics.fmean(self._watts) * self.elapsed
        else:
            self.reason = f"shorter than the {self._interval:g} s between two readings of the power"

    def _follow(self) -> None:
        while not self._stop.wait(self._following):
            self._count()

    def _count(self) -> None:
        now = rapl_packages(self._root)
        more = joules_between(self._counters, now)
        self._counted = None if more is None or self._counted is None else self._counted + more
        self._counters = now or self._counters

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            watts = present_power(self._root, self._run).value
            if watts is not None:
                self._watts.append(watts)
