"""Cluster bootstrap over identities: how much a score depends on which people were in the test set.

Images of one person are not independent, so whole identities are drawn with replacement and bring all their queries
along (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, §8); percentile intervals. Such an interval speaks of
*test sampling only*: it knows nothing of the randomness of training, for which several seeds are needed.

Shapes: M metrics, T trials, I identities, R draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vireid.core.seeding import generator
from vireid.core.types import FloatArray

LEVEL = 0.95
DRAWS = 10_000
TEST_SAMPLING = "95 % interval over test identities (test sampling only, not training randomness)"
_BLOCK_CELLS = 4_000_000  # of the table of draws that is in memory at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its percentile interval over resampled identities; a point where there is a single identity."""

    value: float
    low: float
    high: float
    identities: int
    draws: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def resampled(sums: FloatArray, counts: FloatArray, draws: int = DRAWS) -> FloatArray:
    """Scores of the sample and of every resample: the mean over trials of sum ÷ count over the identities drawn.

    Args:
        sums: M×T×I, what the queries of each identity add to each metric in each trial.
        counts: T×I, queries behind each sum. Every identity has one in some trial.
        draws: R; the same ones for every table of I identities, so that two systems are compared on the same draws.

    Returns:
        (1 + R)×M; the first row is the sample itself.
    """
    rows = [_scores(sums, counts, np.ones((1, counts.shape[1])))]
    rows += [_scores(sums, counts, times) for times in _times_drawn(counts.shape[1], draws)]
    return np.concatenate(rows)


def intervals(scores: FloatArray, identities: int) -> list[Interval]:
    """The interval of each column of what ``resampled`` gives for ``identities``, or of a difference of two such."""
    low, high = np.quantile(scores[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    draws = len(scores) - 1
    return [
        Interval(float(value), float(lower), float(upper), identities, draws)
        for value, lower, upper in zip(scores[0], low, high, strict=True)
    ]


def _scores(sums: FloatArray, counts: FloatArray, times: FloatArray) -> FloatArray:
    drawn = times @ counts.T
    drawn = np.where(drawn > 0, drawn, np.nan)  # a trial in which none of the drawn has a match says nothing
    return np.asarray(np.nanmean((sums @ times.T).transpose(2, 0, 1) / drawn[:, None, :], axis=2))


def _times_drawn(identities: int, draws: int) -> Iterator[FloatArray]:
    """How often each identity is in each resample, in blocks of rows; a fixed key, so that equal input gives equals."""
    rng = generator("bootstrap over identities", identities)
    chance = np.full(identities, 1 / identities)
    step = max(1, _BLOCK_CELLS // identities)
    for start in range(0, draws, step):
        yield rng.multinomial(identities, chance, size=min(step, draws - start)).astype(np.float64)
