"""Resampled identities against a loop, and guards."""

import numpy as np
import pytest

from vireid.statistics.bootstrap import Interval, intervals, resampled


def table(seed: int, metrics: int = 2, trials: int = 3, identities: int = 7):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (trials, identities)).astype(float)
    counts[0] = np.maximum(counts[0], 1)  # every identity has a query in some trial
    return rng.random((metrics, trials, identities)) * counts, counts


def test_every_draw_is_the_mean_over_trials_of_sum_by_count():
    sums, counts = table(1)
    found = resampled(sums, counts, 50)
    assert found.shape == (51, 2)
    assert found[0] == pytest.approx((sums.sum(2) / counts.sum(1)).mean(1))
    low, high = np.percentile(found[1:], [2.5, 97.5], axis=0)
    for interval, value, below, above in zip(intervals(found, 7), found[0], low, high, strict=True):
        assert (interval.value, interval.low, interval.high) == pytest.approx((value, below, above))


def test_two_systems_of_the_same_identities_get_the_same_draws():
    sums, counts = table(2)
    for one, other in zip(resampled(sums, counts, 20), resampled(sums + counts, counts, 20), strict=True):
        assert other == pytest.approx(one + 1)


def test_draws_come_in_blocks_and_are_the_same_ones(monkeypatch):
    whole = resampled(*table(3), draws=40)
    monkeypatch.setattr("vireid.statistics.bootstrap._BLOCK_CELLS", 21)
    assert np.array_equal(resampled(*table(3), draws=40), whole)


def test_an_identity_that_a_trial_lacks_leaves_that_trial_out():
    counts = np.array([[1.0, 1.0], [0.0, 1.0]])
    found = resampled(np.array([[[0.2, 0.6], [0.0, 0.8]]]), counts, 200)[1:, 0]
    assert {round(float(value), 6) for value in found} == {0.2, 0.6, 0.7} | {round((0.2 + 0.6) / 2 / 2 + 0.4, 6)}


def test_one_identity_is_a_point():
    (interval,) = intervals(resampled(np.array([[[1.5]]]), np.array([[2.0]]), 10), 1)
    assert interval == Interval(0.75, 0.75, 0.75, 1, 10)
    assert interval.excludes_zero
