"""Ranks of systems over seeds: Friedman's test and Nemenyi's critical difference (Demšar, JMLR 2006)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vireid.statistics.bootstrap import LEVEL

MIN_BLOCKS, MIN_SYSTEMS = 5, 3  # below these Friedman's statistic is far from its distribution, or there is no rank


@dataclass(frozen=True)
class Ranking:
    """Mean rank of every system (1 is best), over blocks in which all of them have a score."""

    ranks: dict[str, float]  # best first
    blocks: int
    statistic: float  # Friedman's, with the correction of Iman and Davenport (1980): an F
    p: float
    critical: float
    """Nemenyi: mean ranks that lie further apart than this differ, over all pairs at once."""

    @property
    def cliques(self) -> list[tuple[str, ...]]:
        """The largest groups of systems that lie within the critical difference, none inside another."""
        names = list(self.ranks)
        groups: list[tuple[str, ...]] = []
        for position, first in enumerate(names):
            group = tuple(n for n in names[position:] if self.ranks[n] - self.ranks[first] <= self.critical)
            if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
                groups.append(group)
        return groups


def ranking(scores: pd.DataFrame, metric: str) -> Ranking | None:
    """Rank systems by a metric of which more is better; None below ``MIN_BLOCKS`` seeds or ``MIN_SYSTEMS`` systems.

    Args:
        scores: rows of one setting and one re-ranking, with columns cell, seed and ``metric``.
        metric: column to rank by; equal scores share the mean of their ranks.
    """
    by_cell = scores.pivot_table(index="seed", columns="cell", values=metric, aggfunc="mean").dropna()
    blocks, systems = by_cell.shape
    if blocks < MIN_BLOCKS or systems < MIN_SYSTEMS:
        return None
    ranks = by_cell.rank(axis=1, ascending=False)
    mean = ranks.mean().sort_values(kind="stable")
    chi = float(stats.friedmanchisquare(*(by_cell[name] for name in by_cell)).statistic)
    left = blocks * (systems - 1) - chi
    f = (blocks - 1) * chi / left if left > 0 else float("inf")
    p = float(stats.f.sf(f, systems - 1, (systems - 1) * (blocks - 1)))
    studentised = float(stats.studentized_range.ppf(LEVEL, systems, np.inf)) / 2**0.5
    critical = studentised * (systems * (systems + 1) / (6 * blocks)) ** 0.5
    return Ranking({str(name): float(value) for name, value in mean.items()}, blocks, f, p, critical)
