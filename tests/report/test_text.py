from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.report.comparisons import (
    ALL,
    ORACLE,
    SEEDS,
    WITNESS,
    build_comparison,
    build_text_study,
    evaluation_id,
    score,
)
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.report.sections.text import SAME, TRAINED_ALONE, text_rows, text_sentence
from vireid.store import Store


def view_of(store: Store, name: str) -> StudyView:
    return StudyView(store, name)


def naive(with_: list[float], without: list[float]) -> tuple[float, float, float]:
    """Mean of the differences and their Student t interval, as scipy gives it."""
    changes = [a - b for a, b in zip(with_, without, strict=True)]
    low, high = stats.t.interval(0.95, len(changes) - 1, np.mean(changes), stats.sem(changes))
    return float(np.mean(changes)), float(low), float(high)


def test_gain_is_paired_with_the_same_network_and_with_the_one_trained_on_images(tmp_path: Path) -> None:
    rows = text_rows(view_of(build_text_study(tmp_path / "store"), "words"))
    assert [(row.label, row.key.card.captions == "Witness_IR") for row in rows] == [
        ("+ text", True),
        ("+ text", False),
    ]
    told = [score("text", seed, WITNESS) for seed in SEEDS]
    for over, cell in ((SAME, "text"), (TRAINED_ALONE, "alone")):
        gain = rows[0].gain("mAP", over)
        assert gain is not None
        assert gain.difference is not None
        found = (gain.difference.mean, gain.difference.low, gain.difference.high)
        assert found == pytest.approx(naive(told, [score(cell, seed, ALL) for seed in SEEDS]))
        assert gain.p_holm == pytest.approx(gain.difference.p)  # one row: nothing to correct over
    assert rows[0].gain("mAP", SAME).shown  # type: ignore[union-attr]
    assert "beats infrared alone by 5." in text_sentence(rows[0])
    assert "text=query, Witness_IR; the same network without text" in text_sentence(rows[0])
    assert "no difference between infrared + caption and infrared alone shown" in text_sentence(rows[1])


def test_report_of_an_ablation_says_whose_words_and_shows_the_gain(tmp_path: Path) -> None:
    store = build_text_study(tmp_path / "store")
    report = open_report(store.root, "words", tmp_path)
    page = report.section("text", optional=True)
    assert '<h2 id="text">Text</h2>' in page
    assert "text=query, captions Witness_IR: the query&#39;s own caption" in page
    assert page.count("<table>") == 2  # one per source
    assert "baseline" not in re.sub(r"<figcaption>.*?</figcaption>", "", page, flags=re.S)  # it has no words
    assert page.count("not comparable with published results") == 2
    rows = list(csv.DictReader((tmp_path / "tables" / "text.csv").open(encoding="utf-8")))
    assert {row["captions"] for row in rows} == {"Witness_IR", "Blip_IR"}
    assert {row["text"] for row in rows} == {"query"}
    assert len(rows) == 2 * 2 * 2  # sources, networks, metrics
    assert all(row["low"] and row["high"] for row in rows)


def test_without_infrared_alone_there_is_nothing_to_gain_over(tmp_path: Path) -> None:
    store = build_text_study(tmp_path / "store", baseline=False)
    rows = text_rows(view_of(store, "words"))
    gain = rows[0].gain("mAP", TRAINED_ALONE)
    assert gain is not None
    assert gain.difference is None
    assert "no score of infrared alone to compare infrared + caption with" in text_sentence(rows[0], over=TRAINED_ALONE)
    assert "beats infrared alone" in text_sentence(rows[0])
    page = open_report(store.root, "words", tmp_path).section("text")
    assert "–" in page


def test_an_image_only_score_that_is_missing_leaves_no_gain(tmp_path: Path) -> None:
    lost = [evaluation_id("tvi_lfm", seed, ALL) for seed in SEEDS]
    store = build_comparison(tmp_path / "store", lost=lost)
    rows = text_rows(view_of(store, "comparison"))
    assert all(gain.difference is None for row in rows for gain in row.gains)
    assert "no score of infrared alone" in open_report(store.root, "comparison", tmp_path).section("text")


def test_two_seeds_claim_nothing(tmp_path: Path) -> None:
    store = build_text_study(tmp_path / "store", SEEDS[:2])
    (row, _) = text_rows(view_of(store, "words"))
    assert "2 seeds, no effect claimed" in text_sentence(row)
    page = open_report(store.root, "words", tmp_path).section("text")
    assert "<strong>" not in page
    assert "[" not in re.sub(r"<figcaption>.*?</figcaption>", "", page, flags=re.S)


def test_in_a_comparison_only_systems_with_text_stand_there_and_other_systems_are_no_infrared_alone(
    tmp_path: Path,
) -> None:
    store = build_comparison(tmp_path / "store")
    rows = text_rows(view_of(store, "comparison"))
    assert {row.label for row in rows} == {"tvi_lfm"}
    assert {gain.over for row in rows for gain in row.gains} == {SAME}
    report = open_report(store.root, "comparison", tmp_path)
    page = report.section("text")
    assert "which no search knows" in page
    oracle = 100 * np.mean([score("tvi_lfm", seed, ORACLE) for seed in SEEDS])
    assert f"{oracle:.1f}" in page
    images = report.section("systems") + report.section("ablation", copies="accuracy", text=False)
    assert [words for words in ("text query", "text oracle", "Witness_IR", "Blip_RGB") if words in images] == []


def test_studies_without_text_have_no_such_section(tmp_path: Path) -> None:
    store = build_text_study(tmp_path / "store", SEEDS)
    for path in store.runs.glob("*.json"):
        if '"text": "query"' in path.read_text():
            path.unlink()
    report = open_report(store.root, "words", tmp_path)
    assert report.section("text", optional=True) == ""
    assert "No query had text" in report.section("text")
