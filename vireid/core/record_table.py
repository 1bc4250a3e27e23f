"""Rows of records as a table: a column for each field, nested ones dotted, as ``pandas.json_normalize`` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from math import nan
from typing import TYPE_CHECKING, Any

from vireid.core.record_row import SAMPLES, Layout, RecordRow

if TYPE_CHECKING:
    import pandas as pd


def record_table(rows: Sequence[RecordRow], samples: Callable[[RecordRow], Mapping[str, list[Any]]]) -> pd.DataFrame:
    """The table of some rows, in their order.

    Values of records that share a layout are put into columns together, and rows into their order at the end: of the
    cells of all rows and columns, most are empty, since kinds of record have few fields in common.

    Args:
        rows: of the records.
        samples: gives a fit's curves and step times, which a row lacks.
    """
    import pandas as pd

    together: dict[Layout, list[int]] = {}
    for number, row in enumerate(rows):
        together.setdefault(row.layout, []).append(number)
    columns: dict[str, list[Any]] = {}
    done = 0
    for layout, numbers in together.items():
        values = list(zip(*(rows[number].values for number in numbers), strict=True))
        whole = [samples(rows[number]) for number in numbers if rows[number].has_samples]
        for name, position in layout.columns:
            column = columns.setdefault(name, [])
            column.extend(repeat(nan, done - len(column)))
            column.extend([sample[name] for sample in whole] if whole and name in SAMPLES else values[position])
        done += len(numbers)
    for column in columns.values():
        column.extend(repeat(nan, done - len(column)))
    order = [number for numbers in together.values() for number in numbers]
    place = {number: where for where, number in enumerate(order)}
    return pd.DataFrame(columns).take([place[number] for number in range(done)]).reset_index(drop=True)
