"""Ordinary least squares with seeds as blocks, for designs that cross their factors."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from statsmodels.regression.linear_model import OLS
from statsmodels.tools.sm_exceptions import ModelWarning

from vireid.statistics.seeds import MIN_SEEDS, Difference, student

FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 1e-8


def least_squares(
    values: FloatArray, seeds: Sequence[int], matrix: FloatArray, support: Sequence[int]
) -> list[Difference | None]:
    """Coefficient of every column of ``matrix`` (N×T) with its Student t interval; None where rows cannot identify it.

    The model is ``value = block of its seed + matrix · effects + error`` with equal error variance. Rows may be
    missing: a coefficient is given only if it is a linear function of the fitted values (its unit vector lies in the
    row space of the whole design matrix).

    Args:
        values: N scores.
        seeds: N blocks.
        matrix: effect-coded columns without an intercept; the blocks take its place.
        support: per column, the number of seeds that bear on it; below ``MIN_SEEDS`` only the coefficient is given.
    """
    if not len(values):
        return [None] * matrix.shape[1]
    blocks = np.array([[float(seed == block) for block in dict.fromkeys(seeds)] for seed in seeds])
    design = np.hstack([blocks, matrix])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # of a deficient rank, which is looked into below
        fitted = OLS(values, design).fit()
    identified = _in_row_space(design)[blocks.shape[1] :]
    differences: list[Difference | None] = []
    for offset, n in enumerate(support):
        position = blocks.shape[1] + offset
        coefficient = float(fitted.params[position])
        if not identified[offset]:
            differences.append(None)
        elif n < MIN_SEEDS or fitted.df_resid < 1:
            differences.append(Difference(coefficient, n))
        else:
            differences.append(student(coefficient, float(fitted.bse[position]), n, int(fitted.df_resid)))
    return differences


def _in_row_space(design: FloatArray) -> npt.NDArray[np.bool_]:
    """Per column, whether its coefficient alone is a linear function of the rows."""
    projector = np.linalg.pinv(design) @ design
    return np.asarray(np.abs(projector - np.eye(design.shape[1])).max(axis=1) < _TOLERANCE)
