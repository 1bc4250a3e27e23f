from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.report.studies import BuildStore
from vireid.report.load import StudyView
from vireid.report.statistics import difference, effects, paired, sentence, signed, summary, toggles


def test_summary_of_few_values() -> None:
    assert summary([]) is None
    assert summary([math.nan]) is None
    one = summary([0.5])
    assert one is not None
    assert (one.mean, one.sd, one.n) == (0.5, None, 1)
    three = summary([1.0, 2.0, 4.0])
    assert three is not None
    assert three.sd == pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2))


def test_interval_equals_scipys_one_sample_test() -> None:
    blocks = [0.01, 0.03, 0.02, 0.05]
    found = difference(blocks)
    expected = stats.ttest_1samp(blocks, 0.0)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_no_interval_under_three_seeds_and_none_without_spread() -> None:
    two = difference([0.1, 0.2])
    assert two is not None
    assert two.low is two.high is two.p is None
    equal = difference([0.1, 0.1, 0.1])
    assert equal is not None
    assert (equal.low, equal.high, equal.p) == (equal.mean, equal.mean, 0.0)
    assert difference([]) is None


def test_pairs_are_averaged_within_seeds_and_incomplete_seeds_left_out() -> None:
    rows = [("a", 0, 1.0), ("b", 0, 2.0), ("c", 0, 5.0), ("d", 0, 9.0), ("a", 1, 1.0), ("b", 1, 4.0), ("c", 1, 0.0)]
    scores = pd.DataFrame(rows, columns=["cell", "seed", "mAP"])
    assert paired(scores, "mAP", [("a", "b"), ("c", "d")]) == [2.5]
    assert paired(scores, "mAP", [("a", "b")]) == [1.0, 3.0]
    assert paired(scores, "mAP", [("a", "nowhere")]) == []


def test_cumulative_design_gives_one_pair_per_toggle(build_store: BuildStore) -> None:
    view = StudyView(build_store(), "quick")
    assert [(f, level, pairs) for f, level, pairs in toggles(view)] == [
        ("ibn", "a", (("c0", "c1"),)),
        ("mha", "guidance", (("c1", "c2"),)),
        ("augmentation", "full", (("c2", "c3"),)),
        ("weighting", "uncertainty", (("c3", "c4"),)),
    ]


def test_effects_follow_holm_and_naive_differences(build_store: BuildStore) -> None:
    view = StudyView(build_store((0, 1, 2)), "quick")
    found = [e for e in effects(view) if e.reranking == "no re-ranking"]
    scores = view.scores[view.scores.reranking == "no re-ranking"].set_index(["cell", "seed"])["mAP"]
    p_values = []
    for effect in found:
        ((low, high),) = effect.pairs
        blocks = [scores[high, seed] - scores[low, seed] for seed in (0, 1, 2)]
        assert effect.difference.mean == pytest.approx(np.mean(blocks))
        p_values.append(stats.ttest_1samp(blocks, 0.0).pvalue)
    running = 0.0
    for rank, position in enumerate(np.argsort(p_values)):  # Holm, step down
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[position]))
        assert found[position].p_holm == pytest.approx(running)


def test_sentences(build_store: BuildStore) -> None:
    one = next(e for e in effects(StudyView(build_store(), "quick")))
    assert sentence(one).startswith("IBN: 1 seed, no effect claimed (+")
    assert sentence(one).endswith("latency ×1.07")
    assert sentence(one, levels=2).startswith("IBN (a): ")
    change = replace(one.difference, mean=0.021, n=3, low=0.012, high=0.03, p=0.01)
    shown = replace(one, difference=change, p_holm=0.01, latency_ratio=1.08)
    assert sentence(shown) == "IBN: +2.1 mAP [1.2, 3.0], latency ×1.08"
    assert sentence(replace(shown, p_holm=0.2)) == "IBN: no effect shown (+2.1 mAP [1.2, 3.0]), latency ×1.08"
    assert "cost not measured" in sentence(replace(shown, latency_ratio=None, macs_ratio=None))


def test_signed_has_a_true_minus_and_no_negative_zero() -> None:
    assert [signed(v) for v in (1.25, -1.25, -0.01)] == ["+1.2", "−1.2", "±0.0"]
