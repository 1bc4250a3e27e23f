"""Scores of per-query tables with intervals over resampled identities, and paired differences of two runs."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import FloatArray, IntArray
from vireid.statistics.bootstrap import DRAWS, Interval, intervals, resampled

LABEL = "test sampling only (identities resampled), not training noise"
_NEEDED = {"trial", "query", "identity", "ap", "inp", "first_hit_rank", "valid"}


def _hit(rank: int) -> Callable[[pd.DataFrame], FloatArray]:
    return lambda table: np.asarray(table.first_hit_rank.to_numpy() <= rank, dtype=np.float64)


QUERY_SCORES: dict[str, Callable[[pd.DataFrame], FloatArray]] = {
    "mAP": lambda table: table.ap.to_numpy(dtype=float),
    "mINP": lambda table: table.inp.to_numpy(dtype=float),
    **{f"r{rank}": _hit(rank) for rank in (1, 5, 10, 20)},
}


def resampled_score(table: pd.DataFrame, metric: str = "mAP", draws: int = DRAWS) -> Interval:
    """A run's score with its interval.

    Args:
        table: per-query table of an evaluation: trial, query, identity, ap, inp, first_hit_rank, valid.
        metric: one of ``QUERY_SCORES``.
        draws: number of resamples.

    Raises:
        UserError: an unknown metric, a table without these columns or without a valid query.
    """
    identities = _identities(table)
    return intervals(_scores(table, identities, metric, draws), len(identities))[0]


def resampled_difference(
    without: pd.DataFrame, with_: pd.DataFrame, metric: str = "mAP", draws: int = DRAWS
) -> Interval:
    """Score of ``with_`` less that of ``without``, paired: every resample draws the same identities for both runs.

    Raises:
        UserError: as ``resampled_score``; or the two tables are not of the same queries.
    """
    if not same_queries(without, with_):
        raise UserError(
            "the two runs were not evaluated on the same queries, so their difference cannot be paired; "
            "compare runs of one protocol and one rendering of the data"
        )
    identities = np.union1d(_identities(without), _identities(with_))
    change = _scores(with_, identities, metric, draws) - _scores(without, identities, metric, draws)
    return intervals(change, len(identities))[0]


def same_queries(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two per-query tables are of the same queries in the same trials, so that they can be paired.

    Raises:
        UserError: a table lacks a column.
    """
    for table in (one, other):
        _check(table)
    keys = ["trial", "query"]
    first, second = (table[keys].sort_values(keys).reset_index(drop=True) for table in (one, other))
    return first.equals(second)


def _scores(table: pd.DataFrame, identities: IntArray, metric: str, draws: int) -> FloatArray:
    """The score itself, then that of every resample ((1 + draws)×1)."""
    if metric not in QUERY_SCORES:
        raise UserError(f"unknown metric '{metric}'{did_you_mean(metric, QUERY_SCORES)}")
    valid = table[table.valid.to_numpy(dtype=bool)]
    trials, trial = np.unique(valid.trial.to_numpy(), return_inverse=True)
    person = np.searchsorted(identities, valid.identity.to_numpy())
    cell, shape = trial * len(identities) + person, (len(trials), len(identities))
    sums, counts = (
        np.bincount(cell, weights, shape[0] * shape[1]).reshape(shape).astype(np.float64)
        for weights in (QUERY_SCORES[metric](valid), None)
    )
    return resampled(sums[None], counts, draws)


def _identities(table: pd.DataFrame) -> IntArray:
    """Identities with a valid query, ascending."""
    _check(table)
    identities = np.unique(table.identity.to_numpy()[table.valid.to_numpy(dtype=bool)])
    if not len(identities):
        raise UserError("the per-query table has no valid query; evaluate the run again")
    return np.asarray(identities)


def _check(table: pd.DataFrame) -> None:
    if missing := sorted(_NEEDED - set(table.columns)):
        raise UserError(f"the per-query table lacks {', '.join(missing)}; evaluate the run again with this version")
