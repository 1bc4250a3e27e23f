"""Intervals that resample identities: how much a metric, or the difference of two, hangs on who was in the test set.

Images of one person are not independent, so whole identities are drawn with replacement (cluster bootstrap; Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, §8) and the metric is computed anew from their queries. A paired
difference uses the same draw on both sides. Such an interval speaks of *test sampling only*: it knows nothing of the
randomness of training, for which several seeds are needed.

Shapes: T trials, Q queries, I identities, M metrics, R replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.metrics import METRICS, QueryMetrics

LEVEL = 0.95
REPLICATES = 2000
TEST_SAMPLING = "95 % interval over test identities (test sampling only, not training randomness)"
_BLOCK_CELLS = 4_000_000  # weights drawn at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its percentile interval; both ends equal the value where there is a single identity."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


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
    sums, counts = _by_identity(trials)
    ones = np.ones((1, counts.shape[1]))
    return _intervals(_replicate(sums, counts, ones)[0], _bootstrap(sums, counts))


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
    sums = _by_identity(second)[0] - sums
    ones = np.ones((1, counts.shape[1]))
    return _intervals(_replicate(sums, counts, ones)[0], _bootstrap(sums, counts))


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


def _by_identity(trials: Sequence[TrialMetrics]) -> tuple[FloatArray, FloatArray]:
    """Sum of the query values (M×T×I) and number of valid queries (T×I) of every identity."""
    identities, inverse = np.unique(np.concatenate([trial.identity for trial in trials]), return_inverse=True)
    parts = np.split(inverse, np.cumsum([len(trial.identity) for trial in trials])[:-1])
    size = len(identities)
    sums = np.empty((len(METRICS), len(trials), size))
    counts = np.empty((len(trials), size))
    for number, (trial, owner) in enumerate(zip(trials, parts, strict=True)):
        counts[number] = np.bincount(owner, trial.queries.valid, minlength=size)
        for row, values in enumerate(query_values(trial.queries).values()):
            sums[row, number] = np.bincount(owner, values, minlength=size)
    if not counts.sum(axis=1).all():
        raise UserError("no query has an image of its identity in the gallery, so there is nothing to resample")
    present = counts.any(axis=0)
    return sums[:, :, present], counts[:, present]


def _replicate(sums: FloatArray, counts: FloatArray, weights: FloatArray) -> FloatArray:
    """Metrics (R×M) where identity i counts ``weights[r, i]`` times: mean over trials of sum ÷ count."""
    drawn = weights @ counts.T
    drawn = np.where(drawn > 0, drawn, np.nan)  # a trial in which none of the drawn has a match says nothing
    return np.asarray(np.nanmean((sums @ weights.T).transpose(2, 0, 1) / drawn[:, None, :], axis=2))


def _bootstrap(sums: FloatArray, counts: FloatArray) -> FloatArray:
    """Metrics of ``REPLICATES`` draws of identities (R×M); a fixed key, so that equal input gives equal intervals."""
    size = counts.shape[1]
    draw = generator("bootstrap over identities", size)
    step = max(1, _BLOCK_CELLS // size)
    parts = []
    for start in range(0, REPLICATES, step):
        rows = min(step, REPLICATES - start)
        drawn = draw.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        parts.append(_replicate(sums, counts, weights.astype(np.float64)))
    return np.concatenate(parts)


def _intervals(values: FloatArray, replicates: FloatArray) -> dict[str, Interval]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(replicates, [tail, 100 - tail], axis=0)
    return {
        name: Interval(float(value), float(lower), float(upper))
        for name, value, lower, upper in zip(METRICS, values, low, high, strict=True)
    }
