from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.report.studies import BuildStore, build_factorial, per_query
from vireid.report.html import absent
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.report.sections.controls import control_results, control_sentence
from vireid.report.sections.scores import to_csv, to_html
from vireid.report.tables import score_table
from vireid.statistics.chance import EVEN, EXACT, chance_level, expected_average_precision
from vireid.store import Store


def test_expected_average_precision_equals_random_rankings() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((12, 3), (30, 1), (5, 5)):
        hits = np.zeros(n)
        hits[:m] = 1
        found = []
        for _ in range(4000):
            order = rng.permutation(hits)
            ranks = [rank for rank, hit in enumerate(order, start=1) if hit]
            found.append(sum((k / rank) for k, rank in enumerate(ranks, start=1)) / m)
        expected = expected_average_precision(np.array([n]), np.array([m]))[0]
        assert expected == pytest.approx(np.mean(found), abs=4 * np.std(found) / 4000**0.5 + 1e-12)


def test_chance_is_exact_where_the_table_has_the_counts(factorial: Store) -> None:
    evaluation = StudyView(factorial, "factorial").runs[0].evaluations[0]
    table = per_query(np.random.default_rng(0), 0.1)
    even = chance_level(table, evaluation)
    assert (even.r1, even.basis) == (1 / 50, EVEN)
    table = table.assign(candidates=200, matches=4)
    exact = chance_level(table, evaluation)
    assert (exact.r1, exact.basis) == (pytest.approx(0.02), EXACT)
    gallery = evaluation.protocol["gallery"]
    assert even.mean_ap == pytest.approx(expected_average_precision(np.array([gallery]), np.array([gallery / 50]))[0])
    table.loc[:199, "candidates"] = 100
    half = chance_level(table, evaluation)
    assert half.r1 == pytest.approx((0.04 + 0.02) / 2)
    for unknown in ({}, {"gallery": 200, "camera_rule": "sysu"}):
        other = evaluation.model_copy(update={"protocol": unknown})
        assert chance_level(per_query(np.random.default_rng(0), 0.1), other).mean_ap is None


def test_control_sits_at_chance_by_its_interval(factorial: Store) -> None:
    results = control_results(StudyView(factorial, "factorial"))
    assert [result.reranking == "no re-ranking" for result in results] == [True, False]
    r1, mean_ap = results[0].scores
    assert (r1.seeds, r1.chance) == (3, 0.02)
    assert r1.at_chance
    assert r1.low < r1.mean < r1.high
    assert mean_ap.metric == "mAP"
    text = control_sentence(results[0])
    assert text.startswith("Shuffled identities: R1 ")
    assert text.count(": at chance") == 2


def test_what_pixels_give_is_no_learning(tmp_path: Path) -> None:
    view = StudyView(build_factorial(tmp_path, pixels=0.03), "factorial")
    shuffled, still = control_results(view)
    assert (shuffled.untrained, still.untrained) == (False, True)
    for score, level in zip(shuffled.scores, still.scores, strict=True):
        assert not score.at_chance
        assert score.beyond is not None
        assert score.beyond.mean == pytest.approx(score.mean - level.mean)
        assert score.passes
    text = control_sentence(shuffled)
    assert text.count(" beside no learning: no better than without learning") == 2
    assert "chance" not in control_sentence(still).split("chance 2.0 %")[1].split(";")[0]  # a level, no verdict
    page = Report(view, tmp_path).section("controls")
    assert "what pixels give" in page
    assert 'class="bad"' not in page


def test_what_learns_from_shuffled_labels_is_named_even_beside_pixels(tmp_path: Path) -> None:
    view = StudyView(build_factorial(tmp_path, pixels=0.03), "factorial")
    shuffled, _ = control_results(view)
    score = shuffled.scores[0]
    assert score.beyond is not None
    leak = replace(score, beyond=replace(score.beyond, mean=0.05, low=0.01, high=0.09))
    assert (leak.passes, leak.verdict) == (False, "NOT at chance")
    assert (replace(leak, low=leak.chance - 0.01).passes, replace(leak, beyond=None).passes) == (True, False)


def test_few_seeds_fall_back_on_resampled_identities(tmp_path: Path) -> None:
    store = build_factorial(tmp_path, (101,))
    (result,) = control_results(StudyView(store, "factorial"))
    assert "not training noise" in result.scores[0].over


def test_section_has_controls_and_placebo_and_is_empty_without(
    factorial: Store, build_store: BuildStore, tmp_path: Path
) -> None:
    view = StudyView(factorial, "factorial")
    page = Report(view, tmp_path).section("controls")
    assert "shuffled identities" in page
    assert "Placebo: interval contains zero: yes" in page
    assert "enter no effect" in page
    other = StudyView(build_store(), "quick")
    assert Report(other, tmp_path).section("controls") == absent("This study has no controls and no placebo.")


def test_controls_stand_in_a_block_of_their_own(factorial: Store) -> None:
    view = StudyView(factorial, "factorial")
    content = score_table(view, view.keys[0])
    assert [heading for heading, _ in content.blocks()][:2] == ["No re-ranking", "Controls, no re-ranking"]
    assert [len(rows) for _, rows in content.blocks()] == [16, 1, 16, 1]
    page = to_html(view, content)
    assert page.index("Controls, no re-ranking") < page.index("control: shuffled identities")
    table = pd.read_csv(io.StringIO(to_csv(content)))
    assert table.control.sum() == 2
    assert table[table.control].mAP_difference.isna().all()
    assert {len(text) for text in re.findall(r"<span>0\.(04\d+)<small>", page)} == {4}
