from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from tests.report.studies import BuildStore
from vireid.report.html import Column, table, tag
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.report.sections.scores import escape, to_csv, to_html, to_latex
from vireid.report.tables import score_table

NOTE = "ynthetic 1.0, not comparable with published results"


def make(build_store: BuildStore, seeds: tuple[int, ...] = (0,), **changes: object):
    view = StudyView(build_store(seeds, **changes), "quick")
    return view, score_table(view, view.keys[0])


def test_html_greys_differences_of_few_seeds(build_store: BuildStore) -> None:
    view, content = make(build_store)
    page = to_html(view, content)
    assert page.count("1 seed, no effect claimed") == 8  # four cells, plain and re-ranked
    assert 'class="delta"' not in page
    assert NOTE in page


def test_html_with_three_seeds_has_spread_and_no_disclaimer(build_store: BuildStore) -> None:
    view, content = make(build_store, (0, 1, 2))
    page = to_html(view, content)
    assert "no effect claimed" not in page
    assert page.count('class="delta"') == 4 * 5 * 2
    assert "±" in page


def test_two_seeds_show_spread_but_claim_nothing(build_store: BuildStore) -> None:
    view, content = make(build_store, (0, 1))
    page = to_html(view, content)
    assert "2 seeds, no effect claimed" in page
    assert 'class="delta"' not in page


def test_failed_cell_stands_in_the_table_without_numbers(build_store: BuildStore) -> None:
    view, content = make(build_store, broken=(2,))
    failed = [row for row in content.rows if row.cell == "c2"]
    assert [row.seeds for row in failed] == [0, 0]
    assert "no score, see above" in to_html(view, content)


def test_csv_has_full_precision_and_the_note_in_every_row(build_store: BuildStore) -> None:
    view, content = make(build_store, (0, 1, 2))
    rows = list(csv.DictReader(io.StringIO(to_csv(content))))
    assert len(rows) == 10
    assert all(row["data"] == "s" + NOTE for row in rows)
    plain = view.scores[view.scores.reranking == "no re-ranking"].groupby("cell").mAP.mean()
    assert float(rows[0]["mAP"]) == plain["c0"]
    assert float(rows[1]["mAP_difference"]) < 1  # a fraction, as in the records
    assert rows[0]["mAP_difference"] == ""


def test_latex_is_balanced_and_escaped(build_store: BuildStore) -> None:
    view, content = make(build_store)
    text = to_latex(view, content)
    assert text.count("{") == text.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in body} == {10}
    assert re.search(r"\\caption\{.*" + NOTE, text)
    assert r"\color{gray}" in text
    assert escape("a_b & 50%") == r"a\_b \& 50\%"


def test_the_counters_table_says_which_figure_is_wrong_and_why(build_store: BuildStore, tmp_path: Path) -> None:
    view, _ = make(build_store)
    why = "known to be wrong here: it hooks a shared module once for every place"
    for cell, cost in view.costs.items():
        verdicts = {"torch": "right: counts what is executed", "thop": why}
        counters = [
            {**row, "headline": row["name"] == "torch", "verdict": verdicts.get(row["name"], "")}
            for row in cost.counters
        ]
        view.costs[cell] = cost.model_copy(update={"counters": counters})
    page = Report(view, tmp_path).section("costs")
    assert f"thop: {why}" in page
    assert "torch: right" not in page
    assert "which is right and which is wrong there" in page


def test_text_from_records_is_escaped() -> None:
    page = table([Column("<b>", text=True)], [("x & y", [["<script>"]])], "a < b")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "x &amp; y" in page
    assert tag("a", "text", href='"x"', class_="c") == '<a href="&#34;x&#34;" class="c">text</a>'
