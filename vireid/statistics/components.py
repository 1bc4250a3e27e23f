"""Variance of a table of rows × columns by where it comes from: rows, columns, and what is left."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class Components:
    """Standard deviations of rows, of columns and of the rest, by the method of moments, and F tests of the first two.

    A component whose mean square lies below the residual one is 0. What rows and columns have in common beyond their
    sum cannot be told from noise with one value per entry, and is in the rest.
    """

    rows: float
    columns: float
    rest: float
    p_rows: float
    p_columns: float
    shape: tuple[int, int]


def components(table: npt.NDArray[np.float64]) -> Components | None:
    """Two crossed random factors, one value per entry (R×C, no gaps); None below two rows or columns."""
    r, c = table.shape
    if r < 2 or c < 2 or np.isnan(table).any():
        return None
    mean, by_row, by_column = table.mean(), table.mean(axis=1), table.mean(axis=0)
    left = table - by_row[:, None] - by_column[None, :] + mean
    free = (r - 1) * (c - 1)
    ms_rows = c * float(((by_row - mean) ** 2).sum()) / (r - 1)
    ms_columns = r * float(((by_column - mean) ** 2).sum()) / (c - 1)
    ms_rest = float((left**2).sum()) / free
    f_rows, f_columns = (ms / ms_rest if ms_rest > 0 else float("inf") for ms in (ms_rows, ms_columns))
    return Components(
        rows=max(0.0, (ms_rows - ms_rest) / c) ** 0.5,
        columns=max(0.0, (ms_columns - ms_rest) / r) ** 0.5,
        rest=ms_rest**0.5,
        p_rows=float(stats.f.sf(f_rows, r - 1, free)),
        p_columns=float(stats.f.sf(f_columns, c - 1, free)),
        shape=(r, c),
    )
