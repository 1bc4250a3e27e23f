from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from tests.report.studies import BuildStore
from vireid.report.effects.estimate import families
from vireid.report.effects.phrases import Names
from vireid.report.html import Column, table, tag
from vireid.report.latex import PaperColumn, PaperTable, escape, standings
from vireid.report.page import Report
from vireid.report.paper import cell_tables, effect_tables, numbers
from vireid.report.records.study import StudyView
from vireid.report.sections.scores import to_csv, to_html
from vireid.report.tables import score_table
from vireid.statistics.seeds import Summary
from vireid.store import Store

NOTE = "ynthetic data (renderer 1.0), not comparable with published results"


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


def test_latex_tables_of_cells_are_balanced_and_keep_reranked_scores_apart(build_store: BuildStore) -> None:
    view, content = make(build_store, (0, 1, 2))
    tables = dict(cell_tables(view, content, ("r1", "mAP")))
    assert list(tables) == ["", "-wide", "-reranked", "-reranked-wide"]
    for end, made in tables.items():
        text = made.latex(f"quick{end}")
        assert text.count("{") == text.count("}")
        body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert len({line.count(" & ") for line in body}) == 1
        assert len(body) == 5
        assert NOTE in text
        assert (r"\begin{table*}" in text) == end.endswith("wide")
        assert ("k1 20" in text) == ("reranked" in end)
        assert text.count(r"\bfseries") >= 2
        assert rf"\label{{tab:quick{end}}}" in text
    assert escape("a_b & 50%") == r"a\_b \& 50\%"


def test_latex_scores_are_those_of_the_csv(build_store: BuildStore) -> None:
    view, content = make(build_store, (0, 1, 2))
    text = dict(cell_tables(view, content, ("r1", "mAP")))[""].latex("quick")
    lines = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(content))) if row["reranking"] == "no re-ranking"]
    for line, row in zip(lines, rows, strict=True):
        printed = [float(number) for number in re.findall(r"\d+\.\d", line)]
        assert printed == [round(100 * float(row[key]), 1) for key in ("r1", "r1_sd", "mAP", "mAP_sd")]


def test_best_and_second_are_marked_as_printed() -> None:
    assert standings([31.04, 30.98, 20.0, None, 10.0]) == ["best", "best", "second", "", ""]
    assert standings([1.0, 2.0]) == ["", ""]


def test_print_shrinks_and_headings_turn_until_a_table_fits_its_column() -> None:
    scores = tuple(PaperColumn(name, "score") for name in ("R1", "mAP"))
    row = (Summary(0.5, 0.01, 3), Summary(0.4, 0.01, 3))
    checks = tuple(PaperColumn("A long heading", "check") for _ in range(5))
    small = PaperTable("Few.", (PaperColumn("System"), *scores), (("idkl", *row),)).latex("x")
    turned = PaperTable("Ticks.", (*checks, *scores), ((*[True] * 5, *row),)).latex("x")
    broken = PaperTable("Long.", (PaperColumn("System"), *scores), (("word " * 30, *row),)).latex("x")
    assert r"\small" in small
    assert r"\rotatebox" not in small
    assert turned.count(r"\rotatebox{90}") == 5
    assert r"\raggedright" in broken


def test_effects_and_numbers_of_a_paper_are_those_of_the_report(factorial: Store) -> None:
    view = StudyView(factorial, "factorial")
    on_map, on_r1 = families(view, "mAP"), families(view, "r1")
    (end, made), *_ = effect_tables(view, on_map, on_r1, Names(view))
    assert end == ""
    text = made.latex("effects")
    macros = numbers(view, [score_table(view, view.keys[0])], on_map)
    for effect in on_map[0].mains:
        change = effect.difference
        assert change is not None
        assert f"{100 * change.mean:+.1f}" in text
        name = Names(view).effect(effect)
        sign = f"{100 * change.mean:+.1f}".replace("-", r"\ensuremath{-}")
        assert rf"\vireidset{{factorial/effect/{name}/mAP}}{{{sign}}}" in macros
    baseline = score_table(view, view.keys[0]).reference
    assert baseline is not None
    assert baseline.scores["mAP"] is not None
    assert rf"/baseline/mAP}}{{{100 * baseline.scores['mAP'].mean:.1f}}}" in macros.replace(baseline.cell, "baseline")


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
