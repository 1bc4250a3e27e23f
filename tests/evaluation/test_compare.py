"""Intervals over identities against resampling by hand."""

import numpy as np
import pandas as pd
import pytest

from vireid.core.errors import UserError
from vireid.evaluation.compare import (
    TrialMetrics,
    identity_intervals,
    paired_differences,
    query_values,
    trials_of_table,
)
from vireid.evaluation.metrics import METRICS, QueryMetrics


def trial(seed, identities=12, queries=80, gain=0.0):
    random = np.random.default_rng(seed)
    identity = random.integers(0, identities, queries) * 7
    base = random.random(identities)[identity // 7]  # queries of one person resemble each other
    ap = np.clip(0.6 * base + 0.3 * random.random(queries) + gain, 0, 1)
    valid = np.arange(queries) % 9 != 0
    rank = np.where(valid, 1 + (30 * (1 - ap)).astype(int), 0)
    nan = np.where(valid, 1.0, np.nan)
    return TrialMetrics(identity, QueryMetrics(ap * nan, ap * ap * nan, rank, valid))


def test_values_are_the_aggregates_and_lie_inside():
    trials = [trial(1), trial(2)]
    found = identity_intervals(trials)
    for name in METRICS:
        wanted = np.mean([t.queries.aggregate()[name] for t in trials])
        assert found[name].value == pytest.approx(wanted, abs=1e-12)
        assert found[name].low <= wanted <= found[name].high
        for one in trials:
            mean = query_values(one.queries)[name].sum() / one.queries.valid.sum()
            assert mean == pytest.approx(one.queries.aggregate()[name], abs=1e-12)


def by_hand(trials, name, draws=1500):
    """Percentile interval from drawing identities one by one and pooling their queries."""
    random = np.random.default_rng(0)
    identities = np.unique(np.concatenate([t.identity for t in trials]))
    values = []
    for _ in range(draws):
        drawn = random.choice(identities, len(identities))
        means = []
        for t in trials:
            rows = np.concatenate([np.flatnonzero((t.identity == i) & t.queries.valid) for i in drawn])
            means.append(query_values(t.queries)[name][rows].mean())
        values.append(np.mean(means))
    return np.percentile(values, [2.5, 97.5])


@pytest.mark.parametrize("name", ["mAP", "r10"])
def test_intervals_are_those_of_resampling_by_hand(name):
    trials = [trial(1), trial(2)]
    low, high = by_hand(trials, name)
    found = identity_intervals(trials)[name]
    width = high - low
    assert found.low == pytest.approx(low, abs=0.1 * width)
    assert found.high == pytest.approx(high, abs=0.1 * width)


def test_pairing_sees_a_small_gain_that_separate_intervals_hide():
    before, after = [trial(3)], [trial(3, gain=0.02)]
    alone, again = identity_intervals(before)["mAP"], identity_intervals(after)["mAP"]
    change = paired_differences(before, after)["mAP"]
    assert alone.high > again.low
    assert change.value == pytest.approx(again.value - alone.value)
    assert change.excludes_zero
    assert change.high - change.low < 0.3 * (alone.high - alone.low)


def test_nothing_changed_gives_zero_and_the_same_input_the_same_interval():
    side = [trial(4)]
    assert paired_differences(side, side)["r1"] == paired_differences(side, side)["r1"]
    change = paired_differences(side, side)["mAP"]
    assert (change.value, change.low, change.high) == (0, 0, 0)
    assert identity_intervals(side) == identity_intervals([trial(4)])


def test_other_queries_are_refused():
    with pytest.raises(UserError, match="same queries"):
        paired_differences([trial(1)], [trial(2)])
    with pytest.raises(UserError, match="same queries"):
        paired_differences([trial(1)], [trial(1), trial(1)])


def test_tables_give_their_trials_back():
    trials = [trial(1), trial(2)]
    table = pd.concat(
        pd.DataFrame(
            {
                "trial": number,
                "identity": t.identity,
                "ap": t.queries.ap,
                "inp": t.queries.inp,
                "first_hit_rank": t.queries.first_hit_rank,
                "valid": t.queries.valid,
            }
        )
        for number, t in enumerate(trials)
    )
    assert identity_intervals(trials_of_table(table)) == identity_intervals(trials)


def test_many_identities_are_drawn_in_bounded_blocks(monkeypatch):
    whole = identity_intervals([trial(1)])
    monkeypatch.setattr("vireid.statistics.bootstrap._BLOCK_CELLS", 300)
    assert identity_intervals([trial(1)]) == whole
