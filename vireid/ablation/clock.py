"""How long a running study still takes, from what its finished cells took."""

import heapq
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

PROFILE_GUESS = 10.0  # seconds of a profile before the first is done: a few seconds per batch size, and the start


_TELLING = 0.1  # share of a fit from which on its speed tells how long it lasts


@dataclass
class _Running:
    begun: float
    share: float = 0.0  # of its training that is done


class StudyClock:
    """Estimates the seconds left of a study of fits, run ``jobs`` at a time, and of profiles, one after the other.

    A fit under way lasts as long as its own speed promises, and one that is still to come as long as the mean of those
    that are done; before the first is, as the slowest under way.

    Args:
        fits: keys of the fits that are not on record.
        profiles: number of profiles that are to be measured.
        jobs: fits side by side.
    """

    def __init__(self, fits: Sequence[str], profiles: int, jobs: int) -> None:
        self._waiting, self._profiles, self._jobs = set(fits), profiles, jobs
        self._running: dict[str, _Running] = {}
        self._fit_seconds: list[float] = []
        self._profile_seconds: list[float] = []
        self._profile_begun: float | None = None
        self._lock = threading.Lock()

    def begin_fit(self, key: str) -> None:
        """A fit starts."""
        with self._lock:
            if key in self._waiting:
                self._waiting.discard(key)
                self._running[key] = _Running(time.monotonic())

    def train(self, key: str, share: float) -> None:
        """So much of a fit's training is done."""
        with self._lock:
            if key in self._running:
                self._running[key].share = share

    def end_fit(self, key: str) -> None:
        """A fit is done, or failed."""
        with self._lock:
            if (running := self._running.pop(key, None)) is not None:
                self._fit_seconds.append(time.monotonic() - running.begun)

    def begin_profile(self) -> None:
        """A profile starts."""
        with self._lock:
            self._profile_begun = time.monotonic()

    def end_profile(self) -> None:
        """A profile is done, or failed."""
        with self._lock:
            if self._profile_begun is not None:
                self._profile_seconds.append(time.monotonic() - self._profile_begun)
                self._profile_begun = None
                self._profiles -= 1

    def left(self) -> float | None:
        """Seconds; None while no fit has got far enough to tell."""
        with self._lock:
            now = time.monotonic()
            per_fit = self._per_fit(now)
            if per_fit is None and (self._waiting or self._running):
                return None
            slots = [_left_of(fit, per_fit or 0.0, now) for fit in self._running.values()]
            slots += [0.0] * (self._jobs - len(slots))
            heapq.heapify(slots)
            for _ in self._waiting:
                heapq.heapreplace(slots, slots[0] + (per_fit or 0.0))
            return max(slots) + self._of_profiles(now)

    def _per_fit(self, now: float) -> float | None:
        if self._fit_seconds:
            return sum(self._fit_seconds) / len(self._fit_seconds)
        promised = [(now - fit.begun) / fit.share for fit in self._running.values() if fit.share >= _TELLING]
        return max(promised) if promised else None

    def _of_profiles(self, now: float) -> float:
        done = self._profile_seconds
        each = sum(done) / len(done) if done else PROFILE_GUESS
        under_way = 0.0 if self._profile_begun is None else min(each, now - self._profile_begun)
        return max(0.0, each * self._profiles - under_way)


def _left_of(fit: _Running, mean: float, now: float) -> float:
    gone = now - fit.begun
    return gone / fit.share - gone if fit.share >= _TELLING else max(0.0, mean - gone)
