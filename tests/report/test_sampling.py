"""The section on test sampling."""

from pathlib import Path

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
