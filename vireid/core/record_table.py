"""Rows of records as a table: a column for each field, nested ones dotted, as ``pandas.json_normalize`` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from vireid.core.record_row import SAMPLES, Layout, RecordRow

if TYPE_CHECKING:
    import pandas as pd


def record_table(rows: Sequence[RecordRow], samples: Callable[[RecordRow], Mapping[str, list[Any]]]) -> pd.DataFrame:
    """The table of some rows, in their order.

    Values of records that share a layout are put into columns together: of the cells of all rows and columns, most
    are empty, since kinds of record have few fields in common.

    Args:
        rows: of the records.
        samples: gives a fit's curves and step times, which a row lacks.
    """
    import pandas as pd

    together: dict[Layout, list[int]] = {}
    for number, row in enumerate(rows):
        together.setdefault(row.layout, []).append(number)
    columns: dict[str, list[Any]] = {}
    for layout in together:
        for name, _ in layout.columns:
            columns.setdefault(name, [nan] * len(rows))
    for layout, numbers in together.items():
        whole = [samples(rows[number]) for number in numbers] if (SAMPLES[0],) in layout.positions else []
        for name, position in layout.columns:
            column = columns[name]
            if whole and name in SAMPLES:
                for number, sample in zip(numbers, whole, strict=True):
                    column[number] = sample[name]
            else:
                for number in numbers:
                    column[number] = rows[number].values[position]
    return pd.DataFrame(columns)
