from __future__ import annotations

import csv
import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.report.comparisons import (
    ALL,
    INDOOR,
    RERANKED,
    SEEDS,
    SYSTEMS,
    build_comparison,
    evaluation_id,
    score,
)
from vireid.ablation.publish import publish_study
from vireid.core.errors import UserError
from vireid.report import render_report
from vireid.report.page import Report, open_report
from vireid.store import Store

TEMPLATE = Path(__file__).parents[2] / "notebooks" / "comparison.ipynb"
SECTIONS: dict[str, dict[str, object]] = {
    "systems": {},
    "differences": {},
    "ablation": {"copies": "accuracy", "text": False},
    "accuracy_against_cost": {"text": False},
    "text": {},
    "costs": {"training": False},
    "latency": {},
    "scores": {"text": False},
    "budget": {},
}
NOTE = "Synthetic data (renderer 1.0), not comparable with published results"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_comparison(tmp_path_factory.mktemp("comparison") / "store")


@pytest.fixture(scope="module")
def report(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The whole study's report, whose sections are rendered once; its copies lie in ``report.out``."""
    report = open_report(store.root, "comparison", tmp_path_factory.mktemp("report"))
    report.section = functools.cache(report.section)  # type: ignore[method-assign]
    return report


def rows_of(table: str) -> dict[str, list[str]]:
    """Entries of a table's rows by what stands first in them, without small print."""
    found = {}
    for row in re.findall(r"<tr>(<td.*?)</tr>", table, re.S):
        entries = [re.sub(r"<small.*?</small>|<[^>]*>", "", entry) for entry in re.findall(r"<td.*?</td>", row, re.S)]
        found[entries[0].strip()] = [entry.strip() for entry in entries[1:]]
    return found


def percent(cell: str, protocol: dict[str, object]) -> str:
    values = [100 * score(cell, seed, protocol) for seed in SEEDS]
    return f"{np.mean(values):.1f} ±{np.std(values, ddof=1):.1f}"


def test_systems_stand_under_their_own_names_with_accuracy_and_every_cost(report: Report) -> None:
    page = report.section("systems")
    rows = rows_of(page)
    assert list(rows) == list(SYSTEMS)
    for name, (_, macs, deployed, extra, seconds) in SYSTEMS.items():
        entries = rows[name]
        assert (entries[1], entries[3]) == (percent(name, ALL), percent(name, INDOOR))  # mAP; R1 stands before each
        assert entries[4:7] == [f"{deployed / 1e6:.2f}", f"{extra / 1e6:.2f}", f"{macs / 1e9:.4f}"]
        assert float(entries[7]) == pytest.approx(11.1 * macs / 0.0482e9, rel=0.02)  # median of drawn samples
        assert float(entries[8]) == pytest.approx(seconds, abs=3)
        assert float(entries[10]) == pytest.approx(6 * seconds, abs=1)
    assert f"×{SYSTEMS['agw'][2] / SYSTEMS['idkl'][2]:.2f}" in page
    assert NOTE in page
    assert "text" not in page.lower().replace('class="text"', "")


def test_csv_has_one_row_per_system_and_protocol_at_full_precision(report: Report) -> None:
    report.section("systems")
    rows = list(csv.DictReader((report.out / "tables" / "systems-1.csv").open(encoding="utf-8")))
    assert len(rows) == len(SYSTEMS) * 2
    assert {row["text"] for row in rows} == {"none"}
    assert all("not comparable" in row["data"] for row in rows)
    (agw,) = [row for row in rows if row["system"] == "agw" and "indoor" in row["protocol"]]
    changes = [score("agw", seed, INDOOR) - score("idkl", seed, INDOOR) for seed in SEEDS]
    interval = stats.t.interval(0.95, len(SEEDS) - 1, np.mean(changes), stats.sem(changes))
    assert float(agw["mAP_difference"]) == pytest.approx(np.mean(changes))
    assert (float(agw["mAP_low"]), float(agw["mAP_high"])) == pytest.approx(interval)
    assert int(agw["images"]) == 31 * 35 * 64


def test_differences_are_paired_by_seed_and_corrected_over_the_systems(report: Report) -> None:
    page = report.section("differences")
    rows = list(csv.DictReader((report.out / "tables" / "differences-1.csv").open(encoding="utf-8")))
    own = {
        row["effect"]: row for row in rows if row["metric"] == "mAP" and row["reranking"] == "no re-ranking"
    }  # fmt: skip
    assert list(own) == [name for name in SYSTEMS if name != "idkl"]
    single = {}
    for name, row in own.items():
        changes = np.array([score(name, seed, ALL) - score("idkl", seed, ALL) for seed in SEEDS])
        t = changes.mean() / (changes.std(ddof=1) / math.sqrt(len(SEEDS)))
        single[name] = 2 * stats.t.sf(abs(t), len(SEEDS) - 1)
        assert float(row["difference"]) == pytest.approx(changes.mean())
        assert float(row["p"]) == pytest.approx(single[name])
    ranked = sorted(single, key=single.__getitem__)
    so_far = 0.0
    for place, name in enumerate(ranked):  # Holm (1979), step down
        so_far = max(so_far, min(1.0, (len(ranked) - place) * single[name]))
        assert float(own[name]["p_holm"]) == pytest.approx(so_far)
        words = re.search(rf"<li><span>{name}: ([^<]*)</span>", page)
        assert words is not None
        shown = so_far < 0.05
        more = "more" if single and float(own[name]["difference"]) > 0 else "less"
        assert words[1].startswith(
            ("no difference from idkl shown", f"{abs(100 * float(own[name]['difference'])):.1f}")
        )
        assert words[1].startswith("no difference") != shown
        assert not shown or f"points of mAP {more} than idkl [" in words[1]
        assert "its latency" in words[1]
    assert {name for name in ranked if float(own[name]["p_holm"]) < 0.05}, "the example should show something"
    assert NOTE in page


def test_every_caption_of_measured_numbers_carries_the_note(report: Report) -> None:
    sections = [report.section(name, **choices) for name, choices in SECTIONS.items()]
    captions = [words for part in sections for words in re.findall(r"<figcaption>.*?</figcaption>", part, re.S)]
    assert len(captions) > 12
    assert [words for words in captions if NOTE not in words] == []


def test_figures_name_the_systems(report: Report) -> None:
    page = report.section("accuracy_against_cost", text=False)
    assert page.count("<img") == 2
    found = {path.stem for path in (report.out / "figures").glob("*.svg") if f"figures/{path.stem}.svg" in page}
    assert found == {"tradeoff-latency", "tradeoff-macs"}
    assert "Not drawn" not in page


def test_budget_says_what_was_drawn_and_what_it_took(report: Report) -> None:
    page = report.section("budget")
    rows = rows_of(page.split("</table>")[0])
    assert rows["agw"][:2] == ["69,440", "1,085"]
    assert rows["optimized_fork"][:2] == ["69,632", "2,176"]
    assert rows["tvi_lfm"][3] == "19 base, 12 text"
    assert "Same budget: every fit drew between 69,440 and 69,632 training images (0.3 % apart)" in page


def test_unequal_budgets_are_named(tmp_path: Path) -> None:
    build_comparison(tmp_path / "store", short=("agw",))
    report = open_report(tmp_path / "store", "comparison", tmp_path)
    assert "NOT the same budget: fits drew between 33,600 and" in report.section("budget")
    report.section("systems")
    assert "NOT the same budget" in (tmp_path / "summary.md").read_text()


def test_gaps_are_shown_and_claim_nothing(tmp_path: Path) -> None:
    """One seed of AGW failed, IV-REID has no latency, TSKD never finished."""
    failed = {("agw", 202), *(("tskd", seed) for seed in SEEDS)}
    build_comparison(tmp_path / "store", failed=failed, untimed=("iv_reid",))
    report = open_report(tmp_path / "store", "comparison", tmp_path)
    assert "killed for lack of memory" in report.section("overview")
    page = report.section("systems")
    rows = rows_of(page)
    assert rows["tskd"][:4] == ["–"] * 4
    assert rows["iv_reid"][7] == "–"
    assert "2 seeds, no effect claimed" in page
    assert "no score, see above" in page
    differences = report.section("differences")
    assert "agw: 2 seeds, no effect claimed" in differences
    assert "tskd: no seed measured in common with idkl" in differences
    assert re.search(r"iv_reid: [^<]*, at ×1\.00 its MACs<", differences)
    assert "Not drawn, as their latency was not measured: iv_reid." in report.section(
        "accuracy_against_cost", text=False
    )
    text = (tmp_path / "summary.md").read_text()
    assert "| agw (2 seeds, no effect claimed) |" in text
    assert "| tskd (no score) | – | – | – |" in text
    for section in ("budget", "ablation", "scores", "latency", "costs", "text"):
        assert report.section(section)


def test_without_the_reference_nothing_is_compared(tmp_path: Path) -> None:
    build_comparison(tmp_path / "store", failed={("idkl", seed) for seed in SEEDS})
    report = open_report(tmp_path / "store", "comparison", tmp_path)
    assert "No system has been measured beside the reference yet" in report.section("differences")
    assert rows_of(report.section("systems"))["agw"][1] == percent("agw", ALL)
    assert "No system has a score beside idkl, so nothing is compared" in (tmp_path / "summary.md").read_text()


def test_study_without_any_score_renders(tmp_path: Path) -> None:
    build_comparison(tmp_path / "store", failed={(name, seed) for name in SYSTEMS for seed in SEEDS})
    report = open_report(tmp_path / "store", "comparison", tmp_path)
    assert "No scores yet" in report.section("systems")
    assert "No system has a score yet" in (tmp_path / "summary.md").read_text()
    assert "No finished training" in report.section("budget")


def test_reranked_scores_alone_do_not_enter_the_table_of_systems(tmp_path: Path) -> None:
    lost = [evaluation_id(name, seed, card) for name in SYSTEMS for seed in SEEDS for card in (ALL, INDOOR)]
    build_comparison(tmp_path / "store", lost=lost)
    report = open_report(tmp_path / "store", "comparison", tmp_path)
    assert "No scores yet" in report.section("systems")
    assert percent("agw", RERANKED).split()[0] in report.section("ablation", copies="accuracy", text=False)


def test_summary_is_a_table_for_a_readme(report: Report) -> None:
    report.section("systems")
    text = (report.out / "summary.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == ["System", *SYSTEMS]
    assert len({row.count("|") for row in rows}) == 1
    assert any("**" in row for row in rows)
    assert "24 of 24 runs complete" in text
    assert NOTE in text
    assert "Same budget" in text
    assert "`vireid report comparison`" in text
    words = text.index("With text (")
    assert "captions Witness_IR" in text[words:]
    assert "Witness_IR" not in text[:words]
    assert "published" not in text.replace(NOTE, "")


def test_template_is_thin_and_has_no_outputs() -> None:
    code = [cell for cell in json.loads(TEMPLATE.read_text())["cells"] if cell["cell_type"] == "code"]
    assert code[0]["metadata"]["tags"] == ["parameters"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(len("".join(cell["source"]).splitlines()) <= 6 for cell in code)


@pytest.mark.check
def test_whole_report_is_published_with_table_and_figures(tmp_path: Path) -> None:
    store = build_comparison(tmp_path / "store")
    page = render_report(store, "comparison", TEMPLATE)
    text = page.read_text()
    assert text.count("<script") == 1  # which sorts tables
    assert "<script src" not in text
    for target in re.findall(r'href="((?:figures|tables)/[^"]+)"', text):
        assert (page.parent / target).is_file()
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    for table in re.findall(r"<figure class=\"table\">.*?</figure>", text, re.S):
        measured, published = NOTE in table, "Published accuracies" in table or "Published costs" in table
        assert not (measured and published)
    publish_study(store, "comparison", tmp_path / "results")
    folder = tmp_path / "results" / "studies" / "comparison" / "report"
    assert "| System |" in (folder / "summary.md").read_text()
    assert {"tradeoff-macs.svg", "tradeoff-latency.svg", "differences-1.svg"} <= {
        path.name for path in (folder / "figures").iterdir()
    }


def test_ranks_need_seeds_and_then_name_who_is_not_told_apart(report: Report, tmp_path: Path) -> None:
    assert "Ranks need 5 seeds" in report.section("ranks")
    store = build_comparison(tmp_path / "store", seeds=(201, 202, 203, 204, 205, 206))
    page = open_report(store.root, "comparison", tmp_path / "out").section("ranks")
    scores = {cell: [score(cell, seed, ALL) for seed in range(201, 207)] for cell in SYSTEMS}
    ranks = {c: np.mean([1 + sum(scores[o][s] > scores[c][s] for o in SYSTEMS) for s in range(6)]) for c in SYSTEMS}
    best = min(ranks, key=lambda cell: ranks[cell])
    assert f"First: {best}, mean rank {ranks[best]:.1f}" in page
    assert f"critical difference {3.031 * (8 * 9 / (6 * 6)) ** 0.5:.1f}" in page  # q of 8 systems, Demšar's table 5
    drawing = (tmp_path / "out" / "figures" / "ranks-1.svg").read_text()
    assert all(f"<!-- {cell} ({ranks[cell]:.1f}) -->" in drawing for cell in SYSTEMS)


def test_part_of_a_study_is_published_when_asked_for(tmp_path: Path) -> None:
    store = build_comparison(tmp_path / "store", failed=[("agw", 202)])
    with pytest.raises(UserError, match=r"is incomplete: .* publish what is there with --part"):
        publish_study(store, "comparison", tmp_path / "results")
    target = Store(tmp_path / "results")
    count = publish_study(store, "comparison", target.root, part=True)
    records = list(target.records())
    assert len(records) == count
    fits = {record.seed for record in records if record.kind == "fit"}
    assert fits == {201, 202, 203}
    assert sum(record.kind == "fit" for record in records) == 8 * 3 - 1
