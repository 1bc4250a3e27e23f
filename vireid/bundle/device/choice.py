"""Which file to deploy: the most accurate of those that are fast and small enough.

Pure and self-contained (standard library alone), so that a device and the suite choose by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Tuple  # noqa: UP035 - of Interval

Interval = Tuple[Optional[float], Optional[float]]  # noqa: UP006, UP045 - read when imported, by Python 3.9 too


@dataclass(frozen=True)
class Candidate:
    """A deployable file as it was measured. Accuracies are fractions; None where they are not known."""

    name: str
    ms: float  # median of one forward, milliseconds
    mb: float  # size of the file, 10^6 bytes
    mAP: float | None = None  # noqa: N815 - as the field writes it
    low: float | None = None  # ends of its interval
    high: float | None = None
    protocol: str = ""  # under which mAP was measured


@dataclass(frozen=True)
class Choice:
    """The best candidate within the limits, and the next one."""

    best: Candidate | None  # None: none is within the limits
    runner_up: Candidate | None  # None: no other is within the limits
    by_accuracy: bool  # False: no feasible candidate's accuracy is known, and the fastest were taken
    unknown: tuple[Candidate, ...] = ()  # feasible, but left out for want of an accuracy

    @property
    def overlapping(self) -> bool:
        """Whether the intervals of best and runner-up overlap: then their order may be chance."""
        if self.best is None or self.runner_up is None:
            return False
        return bool(overlap((self.best.low, self.best.high), (self.runner_up.low, self.runner_up.high)))


def rank(mAP: float | None, ms: float) -> tuple[float, float]:
    """Sorts candidates best first: by accuracy, of equal ones the faster."""
    return -(mAP or 0.0), ms


def overlap(one: Interval, other: Interval) -> bool | None:
    """Whether two intervals share a point; None where an end is not known."""
    (low, high), (other_low, other_high) = one, other
    if low is None or high is None or other_low is None or other_high is None:
        return None
    return low <= other_high and other_low <= high


def choose(candidates: Sequence[Candidate], max_ms: float | None = None, max_mb: float | None = None) -> Choice:
    """The feasible candidate with the highest mAP, and the next highest.

    Feasible is what needs at most ``max_ms`` and ``max_mb`` (None: no limit). Equal accuracies go to the faster, equal
    times to the smaller. Where some accuracies are known, candidates without one are left out; where none is, the
    fastest is best.

    Raises:
        ValueError: accuracies are of different protocols and cannot be compared.
    """
    fits = [c for c in candidates if (max_ms is None or c.ms <= max_ms) and (max_mb is None or c.mb <= max_mb)]
    known = [c for c in fits if c.mAP is not None]
    protocols = sorted({c.protocol for c in known})
    if len(protocols) > 1:
        raise ValueError(f"accuracies of different protocols cannot be compared: {', '.join(protocols)}")
    ranked = sorted(known or fits, key=lambda c: (*rank(c.mAP, c.ms), c.mb, c.name))
    return Choice(
        best=ranked[0] if ranked else None,
        runner_up=ranked[1] if len(ranked) > 1 else None,
        by_accuracy=bool(known),
        unknown=tuple(c for c in fits if c.mAP is None) if known else (),
    )


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates of known accuracy than which no other is both at least as fast and more accurate, fastest first."""
    known = [candidate for candidate in candidates if candidate.mAP is not None]
    return [known[position] for position in pareto_front([(c.ms, c.mAP or 0.0) for c in known])]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points (cost, score) that no other point equals or beats on both, by rising cost."""
    positions: list[int] = []
    for position in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not positions or points[position][1] > points[positions[-1]][1]:
            positions.append(position)
    return positions
