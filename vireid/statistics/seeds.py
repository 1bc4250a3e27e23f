"""Means, spreads, paired differences and their intervals; a seed is a block with its own start and its own data.

Below ``MIN_SEEDS`` seeds no interval is given and no effect is claimed, whatever the design.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from vireid.core.collector import collector_spared
from vireid.statistics.bootstrap import LEVEL

if TYPE_CHECKING:
    import pandas as pd

MIN_SEEDS = 3
POWER = 0.8


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (None below two values) of ``n`` seeds."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A difference estimated from ``n`` seeds; interval, p and degrees of freedom only from ``MIN_SEEDS`` on."""

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    df: int | None = None
    error: float | None = None
    """Standard error of ``mean``."""

    def detectable(self, tests: int = 1) -> float | None:
        """The smallest true difference that this design shows in four of five repetitions (power 0.8).

        At the level of the first step of Holm's correction over ``tests``, the strictest: what is larger than this is
        hardly missed, what is smaller may be. From the noncentral t distribution; None without a standard error.
        """
        if self.error is None or self.df is None or self.error == 0:
            return None
        limit = float(stats.t.ppf(1 - (1 - LEVEL) / (2 * max(tests, 1)), self.df))

        def missed(effect: float) -> float:
            return float(stats.nct.cdf(limit, self.df, effect)) - (1 - POWER)

        return float(optimize.brentq(missed, 0.0, 4 * limit + 10)) * self.error

    @property
    def contains_zero(self) -> bool | None:
        """Whether zero lies in the interval; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high


def summary(values: Sequence[float]) -> Summary | None:
    """Mean and spread over seeds; None without values."""
    present = [value for value in values if not math.isnan(value)]
    if not present:
        return None
    sd = float(np.std(present, ddof=1)) if len(present) > 1 else None
    return Summary(float(np.mean(present)), sd, len(present))


def student(mean: float, error: float, n: int, df: int) -> Difference:
    """Student t interval and two-sided p of a mean with its standard error; ``n`` seeds, ``df`` residual degrees."""
    if error <= 1e-12 * max(1.0, abs(mean)):  # no spread but rounding: the interval is a point
        return Difference(mean, n, mean, mean, 1.0 if abs(mean) <= 1e-12 else 0.0, df, 0.0)
    half = half_width(error, df)
    p = float(2 * stats.t.sf(abs(mean) / error, df))
    return Difference(mean, n, mean - half, mean + half, p, df, error)


def half_width(error: float, df: int) -> float:
    """Half the Student t interval of an estimate with that standard error."""
    return float(stats.t.ppf((1 + LEVEL) / 2, df)) * error


def difference(blocks: Sequence[float]) -> Difference | None:
    """Student t interval over per-seed differences; None without any."""
    if not blocks:
        return None
    mean, n = float(np.mean(blocks)), len(blocks)
    if n < MIN_SEEDS:
        return Difference(mean, n)
    return student(mean, float(np.std(blocks, ddof=1)) / math.sqrt(n), n, n - 1)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) correction of p values over the family they are; None stays None and is no part of it."""
    tested = [value for value in values if value is not None]
    with collector_spared():  # statsmodels collects garbage first, each time
        corrected = iter(multipletests(tested, method="holm")[1] if tested else ())
    return [None if value is None else float(next(corrected)) for value in values]


def paired(scores: pd.DataFrame, metric: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Per-seed differences (with − without), averaged over the pairs; seeds that lack any of the cells are left out.

    Args:
        scores: rows of one setting and one re-ranking, with columns cell, seed and ``metric``.
        metric: column to compare.
        pairs: names (cell without, cell with).
    """
    values: dict[tuple[str, int], list[float]] = {}
    for cell, seed, value in zip(scores["cell"], scores["seed"], scores[metric].astype(float), strict=True):
        if not math.isnan(value):
            values.setdefault((cell, seed), []).append(value)
    means = {place: float(np.mean(several)) for place, several in values.items()}
    names = {name for pair in pairs for name in pair}
    seeds = sorted({seed for _, seed in means}) if pairs else []
    complete = [seed for seed in seeds if all((name, seed) in means for name in names)]
    return [sum(means[high, seed] - means[low, seed] for low, high in pairs) / len(pairs) for seed in complete]
