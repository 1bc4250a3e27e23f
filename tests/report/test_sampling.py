"""The section on test sampling."""

from pathlib import Path

import pandas as pd
import pytest

from vireid.core.records import EvaluationRecord
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.store import Store


def test_table_compares_every_cell_with_the_baseline_and_says_what_it_covers(factorial: Store, tmp_path: Path) -> None:
    view = StudyView(factorial, "factorial")
    page = Report(view, tmp_path).section("sampling")
    assert "test sampling only (identities resampled), not training noise" in page
    assert "seed 101" in page
    assert page.count("<tr") == 1 + 2 * (1 + 15)  # head; plain and re-ranked, each a heading and 15 cells
    assert "shuffled" not in page
    evaluation = view.runs[0].evaluations[0]
    assert view.per_query(evaluation.model_copy(update={"per_query_file": "gone.parquet"})) is None


def test_cells_on_other_people_are_not_paired_and_named(
    factorial: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the levels of a random factor that draws data sets: their page could not be rendered at all."""
    view, known = StudyView(factorial, "factorial"), StudyView.per_query
    others = {e.id for run in view.trained if run.cell.name == "0001" for e in run.evaluations}

    def per_query(self: StudyView, evaluation: EvaluationRecord) -> pd.DataFrame | None:
        table = known(self, evaluation)
        return table.assign(query="other-" + table["query"]) if table is not None and evaluation.id in others else table

    monkeypatch.setattr(StudyView, "per_query", per_query)
    page = Report(view, tmp_path).section("sampling")
    assert page.count("<tr") == 1 + 2 * (1 + 14)
    assert f"and not paired with it: {view.cells['0001'].label}." in page
