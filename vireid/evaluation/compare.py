"""Metrics with intervals over resampled identities, and paired differences of two systems, from per-query metrics.

Shapes: T trials, Q queries, I identities, M metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.metrics import METRICS, QueryMetrics
from vireid.statistics.bootstrap import Interval, intervals, resampled

DRAWS = 2000  # with every evaluation; a report, which compares, draws more


@dataclass(frozen=True, slots=True)
class TrialMetrics:
    """Metrics of every query of one trial with the queries' identities."""

    identity: IntArray
    queries: QueryMetrics


def identity_intervals(trials: Sequence[TrialMetrics]) -> dict[str, Interval]:
    """Every metric of ``METRICS`` (mean over trials) with its interval, as fractions.

    Raises:
        UserError: no query has a match.
    """
    return _by_metric(*_by_identity(trials))


def paired_differences(first: Sequence[TrialMetrics], second: Sequence[TrialMetrics]) -> dict[str, Interval]:
    """Difference *second − first* of every metric with its interval; the same queries on both sides.

    Raises:
        UserError: trials or queries differ, or no query has a match.
    """
    if len(first) != len(second) or any(
        not np.array_equal(a.identity, b.identity) or not np.array_equal(a.queries.valid, b.queries.valid)
        for a, b in zip(first, second, strict=True)
    ):
        raise UserError("the two sides were not measured on the same queries; evaluate both under one protocol")
    sums, counts = _by_identity(first)
    return _by_metric(_by_identity(second)[0] - sums, counts)


def trials_of_table(table: pd.DataFrame) -> list[TrialMetrics]:
    """Trials of a per-query table (columns trial, identity, ap, inp, first_hit_rank, valid), in its order."""
    return [
        TrialMetrics(
            rows["identity"].to_numpy(dtype=np.int64),
            QueryMetrics(
                ap=rows["ap"].to_numpy(dtype=np.float64),
                inp=rows["inp"].to_numpy(dtype=np.float64),
                first_hit_rank=rows["first_hit_rank"].to_numpy(dtype=np.int64),
                valid=rows["valid"].to_numpy(dtype=np.bool_),
            ),
        )
        for _, rows in table.groupby("trial", sort=True)
    ]


def query_values(queries: QueryMetrics) -> dict[str, FloatArray]:
    """What each query adds to each metric (Q values; 0 where not valid): a metric is their mean over valid queries."""
    values: Mapping[str, FloatArray] = {
        **{name: (queries.first_hit_rank <= int(name[1:])).astype(np.float64) for name in METRICS if name[0] == "r"},
        "mAP": queries.ap,
        "mINP": queries.inp,
    }
    return {name: np.where(queries.valid, values[name], 0.0) for name in METRICS}


def _by_metric(sums: FloatArray, counts: FloatArray) -> dict[str, Interval]:
    return dict(zip(METRICS, intervals(resampled(sums, counts, DRAWS), counts.shape[1]), strict=True))


def _by_identity(trials: Sequence[TrialMetrics]) -> tuple[FloatArray, FloatArray]:
    """Sum of the query values (M×T×I) and number of valid queries (T×I) of every identity."""
    identities, inverse = np.unique(np.concatenate([trial.identity for trial in trials]), return_inverse=True)
    owners = np.split(inverse, np.cumsum([len(trial.identity) for trial in trials])[:-1])
    size = len(identities)
    sums = np.empty((len(METRICS), len(trials), size))
    counts = np.empty((len(trials), size))
    for number, (trial, owner) in enumerate(zip(trials, owners, strict=True)):
        counts[number] = np.bincount(owner, trial.queries.valid, minlength=size)
        for row, values in enumerate(query_values(trial.queries).values()):
            sums[row, number] = np.bincount(owner, values, minlength=size)
    if not counts.sum(axis=1).all():
        raise UserError("no query has an image of its identity in the gallery, so there is nothing to resample")
    present = counts.any(axis=0)
    return sums[:, :, present], counts[:, present]
