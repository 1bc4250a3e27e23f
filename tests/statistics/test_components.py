"""Variance components against simulation and against statsmodels' ANOVA."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from vireid.statistics.components import components


def test_components_come_back_from_simulated_tables() -> None:
    rng = np.random.default_rng(2)
    squares = np.zeros(3)
    for _ in range(400):
        table = rng.normal(0, 0.04, (6, 1)) + rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.01, (6, 5))
        found = components(table)
        assert found is not None
        squares += np.array([found.rows, found.columns, found.rest]) ** 2
    assert np.sqrt(squares / 400) == pytest.approx([0.04, 0.02, 0.01], rel=0.06)


def test_tests_are_those_of_the_two_way_anova() -> None:
    table = np.random.default_rng(3).normal(0, 1, (5, 3)) + np.arange(5)[:, None]
    found = components(table)
    assert found is not None
    rows, columns = np.indices(table.shape)
    frame = pd.DataFrame({"y": table.ravel(), "row": rows.ravel(), "column": columns.ravel()})
    reference = anova_lm(ols("y ~ C(row) + C(column)", frame).fit())
    assert found.p_rows == pytest.approx(reference["PR(>F)"]["C(row)"], rel=1e-9)
    assert found.p_columns == pytest.approx(reference["PR(>F)"]["C(column)"], rel=1e-9)
    assert found.rest**2 == pytest.approx(reference["mean_sq"]["Residual"], rel=1e-9)


def test_a_table_with_gaps_or_one_row_has_no_components() -> None:
    assert components(np.array([[1.0, np.nan], [2.0, 3.0]])) is None
    assert components(np.ones((1, 4))) is None
