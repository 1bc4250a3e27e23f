from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy import stats

from vireid.report.records.keys import interval, points, signed
from vireid.statistics.seeds import Difference, difference, paired, summary


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


def test_signed_has_a_true_minus_and_no_negative_zero() -> None:
    assert [signed(v) for v in (1.25, -1.25, -0.01)] == ["+1.2", "−1.2", "±0.0"]


def test_points_of_percent_with_their_interval() -> None:
    change = Difference(0.021, 3, 0.012, 0.03, 0.01, 2)
    assert points(change, "mAP") == "+2.1 mAP [1.2, 3.0]"
    assert interval(Difference(0.003, 3, -0.009, 0.015, 0.4, 2)) == "[−0.9, 1.5]"
    assert points(Difference(-0.001, 1)) == "−0.1"
    assert [change.contains_zero, Difference(0.0, 3, -1.0, 1.0).contains_zero, Difference(0.0, 2).contains_zero] == [
        False, True, None,
    ]  # fmt: skip
