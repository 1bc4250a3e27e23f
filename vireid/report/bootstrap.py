"""Bootstrap over identities: how much a score depends on which people were in the test set.

Efron (1979), percentile intervals. Identities are drawn with replacement and bring all their queries along, because the
queries of one person resemble each other. The interval says nothing about training: both runs stay as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from vireid.core.errors import UserError, did_you_mean
from vireid.core.seeding import generator
from vireid.report.statistics import LEVEL

LABEL = "test sampling only (identities resampled), not training noise"
DRAWS = 10_000
FloatArray = npt.NDArray[np.float64]
_NEEDED = {"trial", "query", "identity", "ap", "inp", "first_hit_rank", "valid"}


def _hit(rank: int) -> Callable[[pd.DataFrame], FloatArray]:
    return lambda table: np.asarray(table.first_hit_rank.to_numpy() <= rank, dtype=np.float64)


QUERY_SCORES: dict[str, Callable[[pd.DataFrame], FloatArray]] = {
    "mAP": lambda table: table.ap.to_numpy(dtype=float),
    "mINP": lambda table: table.inp.to_numpy(dtype=float),
    **{f"r{rank}": _hit(rank) for rank in (1, 5, 10, 20)},
}


@dataclass(frozen=True)
class Resampled:
    """A score, or a difference of two, with its percentile interval over resampled identities."""

    mean: float
    low: float
    high: float
    identities: int
    draws: int


def resampled_score(table: pd.DataFrame, metric: str = "mAP", draws: int = DRAWS) -> Resampled:
    """A run's score with its interval.

    Args:
        table: per-query table of an evaluation: trial, query, identity, ap, inp, first_hit_rank, valid.
        metric: one of ``QUERY_SCORES``.
        draws: number of resamples.

    Raises:
        UserError: an unknown metric, a table without these columns or without a valid query.
    """
    identities = _identities(table)
    values = _score(table, identities, metric, draws)
    return _summary(values, len(identities), draws)


def resampled_difference(
    without: pd.DataFrame, with_: pd.DataFrame, metric: str = "mAP", draws: int = DRAWS
) -> Resampled:
    """Score of ``with_`` less that of ``without``, paired: every resample draws the same identities for both runs.

    Raises:
        UserError: as ``resampled_score``; or the two tables are not of the same queries.
    """
    for table in (without, with_):
        _check(table)
    keys = ["trial", "query"]
    if (
        not without[keys]
        .sort_values(keys)
        .reset_index(drop=True)
        .equals(with_[keys].sort_values(keys).reset_index(drop=True))
    ):
        raise UserError(
            "the two runs were not evaluated on the same queries, so their difference cannot be paired; "
            "compare runs of one protocol and one rendering of the data"
        )
    identities = np.union1d(_identities(without), _identities(with_))
    change = _score(with_, identities, metric, draws) - _score(without, identities, metric, draws)
    return _summary(change, len(identities), draws)


def _score(table: pd.DataFrame, identities: npt.NDArray[np.int64], metric: str, draws: int) -> FloatArray:
    """The score itself, then that of every resample: the mean over trials of the mean over valid queries."""
    if metric not in QUERY_SCORES:
        raise UserError(f"unknown metric '{metric}'{did_you_mean(metric, QUERY_SCORES)}")
    valid = table[table.valid.to_numpy(dtype=bool)]
    trials, trial = np.unique(valid.trial.to_numpy(), return_inverse=True)
    row = np.searchsorted(identities, valid.identity.to_numpy())
    position, size = row * len(trials) + trial, len(identities) * len(trials)
    shape = (len(identities), len(trials))
    sums = np.bincount(position, QUERY_SCORES[metric](valid), size).reshape(shape)
    counts = np.bincount(position, minlength=size).reshape(shape).astype(float)
    times = _times_drawn(len(identities), draws)
    drawn = times @ counts
    drawn = np.where(drawn > 0, drawn, np.nan)  # a trial in which none of the drawn has a match says nothing
    return np.asarray(np.nanmean(times @ sums / drawn, axis=1))


@lru_cache(maxsize=4)
def _times_drawn(identities: int, draws: int) -> FloatArray:
    """How often each identity is in each resample ((1 + draws) × identities); the first row is the sample itself."""
    rng = generator("bootstrap over identities", identities)
    chance = np.full(identities, 1 / identities)
    drawn = rng.multinomial(identities, chance, size=draws).astype(float)
    return np.vstack([np.ones(identities), drawn])


def _summary(values: FloatArray, identities: int, draws: int) -> Resampled:
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Resampled(float(values[0]), float(low), float(high), identities, draws)


def _identities(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Identities with a valid query, ascending."""
    _check(table)
    identities = np.unique(table.identity.to_numpy()[table.valid.to_numpy(dtype=bool)])
    if not len(identities):
        raise UserError("the per-query table has no valid query; evaluate the run again")
    return np.asarray(identities)


def _check(table: pd.DataFrame) -> None:
    if missing := sorted(_NEEDED - set(table.columns)):
        raise UserError(f"the per-query table lacks {', '.join(missing)}; evaluate the run again with this version")
