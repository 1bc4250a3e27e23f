"""Ordinary least squares with seeds as blocks, for designs that cross their factors; pooled, or seed by seed.

Pooled, all cells of all seeds estimate one error variance, and an effect is taken to be the same at every seed. Where a
seed is a data set of its own that is an assumption, and it is tested here, as is that blocks scatter alike. Where
either is rejected an effect is estimated within every seed, and its interval is a Student t over these estimates: fewer
degrees of freedom, and a statement about data sets like these rather than about these data sets.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from vireid.statistics.seeds import MIN_SEEDS, Difference, difference, student

FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 1e-8

POOLING_LEVEL = 0.25
"""Pooling is given up where p is below this. A preliminary test at 0.05 would pool too often, and intervals would then
cover too rarely; Bancroft (Biometrics 1964) and Bancroft and Han (JASA 1983) find levels near 0.25 safe."""


@dataclass(frozen=True)
class SeedTest:
    """Whether a seed's own effects, or its own scatter, differ from those of the others; p is None where no test is
    possible, as without replication within seeds.
    """

    interaction_f: float | None = None  # mean square of effects × seeds ÷ residual mean square within seeds
    df: tuple[int, int] | None = None
    interaction_p: float | None = None
    spread_p: float | None = None  # Bartlett's test of equal residual variance

    @property
    def pooled(self) -> bool:
        """Whether neither test speaks against one model for all seeds."""
        return all(p is None or p >= POOLING_LEVEL for p in (self.interaction_p, self.spread_p))


@dataclass(frozen=True)
class Fitted:
    """Estimates of the columns of a design, and what they rest on."""

    differences: list[Difference | None]  # None where the rows cannot identify a column
    level: Literal["pooled", "seeds"]
    test: SeedTest
    residual: float | None = None  # standard deviation between cells of a seed beyond the model
    blocks: float | None = None  # standard deviation of the seeds' means


def least_squares(values: FloatArray, seeds: Sequence[int], matrix: FloatArray, support: Sequence[int]) -> Fitted:
    """Coefficient of every column of ``matrix`` (N×T) with its Student t interval.

    The model is ``value = block of its seed + matrix · effects + error``. Rows may be missing: a coefficient is given
    only if it is a linear function of the fitted values (its unit vector lies in the row space of the design matrix).

    Args:
        values: N scores.
        seeds: N blocks.
        matrix: effect-coded columns without an intercept; the blocks take its place.
        support: per column, the number of seeds that bear on it; below ``MIN_SEEDS`` only the coefficient is given.
    """
    if not len(values):
        return Fitted([None] * matrix.shape[1], "pooled", SeedTest())
    labels = list(dict.fromkeys(seeds))
    blocks = np.array([[float(seed == block) for block in labels] for seed in seeds])
    pooled, residuals = _ordinary(values, np.hstack([blocks, matrix]), blocks.shape[1], support)
    within = [np.array([seed == block for seed in seeds]) for block in labels]
    test = _seed_test(values, matrix, within, residuals)
    means = [float(values[rows].mean()) for rows in within]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    free = len(values) - _rank(np.hstack([blocks, matrix]))
    scatter = float(np.sqrt(residuals @ residuals / free)) if free > 0 else None
    if test.pooled:
        return Fitted(pooled, "pooled", test, scatter, spread)
    return Fitted(_seed_by_seed(values, matrix, within, pooled), "seeds", test, scatter, spread)


def _ordinary(
    values: FloatArray, design: FloatArray, nuisance: int, support: Sequence[int]
) -> tuple[list[Difference | None], FloatArray]:
    """Coefficients of the columns after the first ``nuisance``, and the residuals."""
    from statsmodels.regression.linear_model import OLS  # that designs without a model do without
    from statsmodels.tools.sm_exceptions import ModelWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # of a deficient rank, which is looked into below
        fitted = OLS(values, design).fit()
    identified = _in_row_space(design)[nuisance:]
    differences: list[Difference | None] = []
    for offset, n in enumerate(support):
        coefficient = float(fitted.params[nuisance + offset])
        if not identified[offset]:
            differences.append(None)
        elif n < MIN_SEEDS or fitted.df_resid < 1:
            differences.append(Difference(coefficient, n))
        else:
            differences.append(student(coefficient, float(fitted.bse[nuisance + offset]), n, int(fitted.df_resid)))
    return differences, np.asarray(fitted.resid)


def _seed_by_seed(
    values: FloatArray, matrix: FloatArray, within: Sequence[npt.NDArray[np.bool_]], pooled: Sequence[Difference | None]
) -> list[Difference | None]:
    """Mean over seeds of every coefficient as that seed's own cells give it; the pooled value without an interval
    where no seed's cells identify it.
    """
    estimates: list[list[float]] = [[] for _ in pooled]
    for rows in within:
        design = np.hstack([np.ones((int(rows.sum()), 1)), matrix[rows]])
        coefficients, identified = np.linalg.pinv(design) @ values[rows], _in_row_space(design)
        for column, found in enumerate(estimates):
            if identified[1 + column]:
                found.append(float(coefficients[1 + column]))
    return [
        difference(found) if found else whole and Difference(whole.mean, whole.n)
        for found, whole in zip(estimates, pooled, strict=True)
    ]


def _seed_test(
    values: FloatArray, matrix: FloatArray, within: Sequence[npt.NDArray[np.bool_]], residuals: FloatArray
) -> SeedTest:
    """F of effects × seeds against the residual within seeds, and Bartlett's test over the seeds' variances."""
    own_squares, own_free, variances = 0.0, 0, []
    ranks = 0
    for rows in within:
        design = np.hstack([np.ones((int(rows.sum()), 1)), matrix[rows]])
        left = values[rows] - design @ (np.linalg.pinv(design) @ values[rows])
        free = int(rows.sum()) - _rank(design)
        own_squares, own_free, ranks = own_squares + float(left @ left), own_free + free, ranks + _rank(design)
        variances.append((float(left @ left), free))
    blocks = np.column_stack([rows.astype(float) for rows in within])
    extra = ranks - _rank(np.hstack([blocks, matrix]))  # parameters beyond one model for all seeds
    if extra <= 0 or own_free <= 0 or own_squares <= _TOLERANCE * float(values @ values):
        return SeedTest()
    f = (float(residuals @ residuals) - own_squares) / extra / (own_squares / own_free)
    p = float(stats.f.sf(f, extra, own_free))
    return SeedTest(f, (extra, own_free), p, _bartlett(variances))


def _bartlett(squares: Sequence[tuple[float, int]]) -> float | None:
    """Bartlett's test of equal variances, from sums of squares with their degrees of freedom; None below two."""
    usable = [(value, free) for value, free in squares if free > 0 and value > 0]
    if len(usable) < 2:
        return None
    total = sum(free for _, free in usable)
    pooled = sum(value for value, _ in usable) / total
    statistic = total * np.log(pooled) - sum(free * np.log(value / free) for value, free in usable)
    correction = 1 + (sum(1 / free for _, free in usable) - 1 / total) / (3 * (len(usable) - 1))
    return float(stats.chi2.sf(statistic / correction, len(usable) - 1))


def _rank(design: FloatArray) -> int:
    return int(np.linalg.matrix_rank(design))


def _in_row_space(design: FloatArray) -> npt.NDArray[np.bool_]:
    """Per column, whether its coefficient alone is a linear function of the rows."""
    projector = np.linalg.pinv(design) @ design
    return np.asarray(np.abs(projector - np.eye(design.shape[1])).max(axis=1) < _TOLERANCE)
