"""A study whose driver and jobs are killed at random moments, and whether anything of it was lost.

After every kill the same command goes on, and once more to the end when enough have been made. A finished record must
stay as it was, and no job may outlive its driver.
"""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.ablation.spread import JOBS, Studies

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP)
STOPPED_SECONDS = 3.0  # of a SIGSTOP, before it goes on
ORPHAN_SECONDS = 20.0  # within which jobs without a driver end


@dataclass
class Tally:
    """What was done, and what was found."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def made(self) -> int:
        """Signals that were sent."""
        return sum(self.kills.values())


def disturb(
    studies: Studies, arguments: list[str], draw: random.Random, seconds: float, kills: int, tally: Tally
) -> None:
    """Run a study under kills until it has ended in spite of them, or until ``kills`` have been made.

    Args:
        studies: with the study written.
        arguments: of ``vireid ablate``.
        draw: of their moments, kinds and victims.
        seconds: that the undisturbed study takes: a kill comes within that time of a start.
        kills: how many signals ``tally`` is to count at most.
        tally: of kills and faults so far.
    """
    store = studies.folder / "store"
    finished: dict[Path, tuple[int, int]] = {}
    ended = False
    while tally.made < kills and not ended:
        driver = studies.start(*arguments, quiet=True)
        moment = time.monotonic() + draw.uniform(0.0, seconds)
        kind, of_job = draw.choice(SIGNALS), draw.random() < 0.5
        while driver.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        _send(driver, kind, tally, of_job=of_job)
        _wait_for(driver, store, tally)
        ended = driver.returncode == 0
        tally.faults += _changed(store, finished)
    last = studies.run(*arguments)
    if last.returncode != 0:
        tally.faults.append(f"the last run ended with {last.returncode}: {last.stderr[-2000:]}")
    tally.faults += _changed(store, finished)
    tally.faults += [f"{lease} is left" for lease in store.glob("leases/*.lease")]
    if not (store / "studies/spread/report/index.html").is_file():
        tally.faults.append("there is no report")


def _send(driver: subprocess.Popen[str], kind: signal.Signals, tally: Tally, *, of_job: bool) -> None:
    """Send a signal to a job of the driver, where it has any and one is meant, else to the driver itself."""
    if driver.poll() is not None:
        return
    try:
        jobs = list(_jobs(psutil.Process(driver.pid).children(recursive=True))) if of_job else []
        victim = jobs[0] if jobs else psutil.Process(driver.pid)
        victim.send_signal(kind)
        if kind == signal.SIGSTOP:
            time.sleep(STOPPED_SECONDS)
            victim.send_signal(signal.SIGCONT)
            if not jobs:
                driver.kill()  # what it held must be free for the next
    except psutil.NoSuchProcess:
        return
    tally.kills[f"{kind.name} of {'a job' if jobs else 'the driver'}"] += 1


def _wait_for(driver: subprocess.Popen[str], store: Path, tally: Tally) -> None:
    """Wait until driver and jobs have ended, and say what outlived it."""
    try:
        driver.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        tally.faults.append("a driver hangs")
        driver.kill()
        driver.communicate(timeout=30)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (left := list(_jobs(psutil.process_iter(), store))) and time.monotonic() < deadline:
        time.sleep(0.1)
    for orphan in left:
        tally.faults.append(f"a job outlived its driver: {orphan.cmdline()}")
        orphan.kill()


def _jobs(processes: Iterable[psutil.Process], store: Path | None = None) -> Iterator[psutil.Process]:
    for process in processes:
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if JOBS in command and (store is None or any(str(store) in part for part in command)):
            yield process


def _changed(store: Path, finished: dict[Path, tuple[int, int]]) -> list[str]:
    """Finished records that were written again or are gone; new ones are kept in mind."""
    now = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.glob("runs/*.json")}
    changed = [f"{path.name} was written again" for path, stamp in finished.items() if now.get(path) != stamp]
    finished |= now
    return changed
