from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.report.studies import per_query
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.statistics.queries import resampled_difference, resampled_score

COLUMNS = ["trial", "query", "identity", "ap", "inp", "first_hit_rank", "valid"]


def run(seed: int, mean: float = 0.3, identities: int = 12) -> pd.DataFrame:
    table = per_query(np.random.default_rng(seed), mean, identities)[COLUMNS]
    table.loc[[1, 17], "valid"] = False
    table.loc[[1, 17], "ap"] = np.nan
    return table


def naive(table: pd.DataFrame, drawn: list[int], metric: str) -> float:
    """Mean over trials of the mean over valid queries, an identity as often as it was drawn."""
    rows = [row for row in table.itertuples() if row.valid]
    means = []
    for trial in sorted({row.trial for row in rows}):
        values = []
        for identity in drawn:
            for row in rows:
                if row.identity == identity and row.trial == trial:
                    values.append(row.ap if metric == "mAP" else float(row.first_hit_rank <= 1))
        means.append(sum(values) / len(values))
    return sum(means) / len(means)


@pytest.mark.parametrize("metric", ["mAP", "r1"])
def test_resamples_equal_a_naive_loop(metric: str) -> None:
    one, two = run(1), run(2, 0.4)
    draws = 40
    counts = generator("bootstrap over identities", 12).multinomial(12, np.full(12, 1 / 12), size=draws)
    differences = []
    for times in counts:
        drawn = [identity for identity, n in enumerate(times) for _ in range(n)]
        differences.append(naive(two, drawn, metric) - naive(one, drawn, metric))
    found = resampled_difference(one, two, metric, draws)
    everyone = list(range(12))
    assert found.value == pytest.approx(naive(two, everyone, metric) - naive(one, everyone, metric), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=1e-12)
    assert (found.identities, found.draws) == (12, draws)


def test_pairing_takes_out_how_hard_people_are() -> None:
    one = run(1, identities=50)
    better = one.assign(ap=one.ap + 0.02)
    paired = resampled_difference(one, better)
    alone = resampled_score(one)
    assert paired.high - paired.low < 1e-9
    assert alone.high - alone.low > 0.02
    assert alone.low < alone.value < alone.high
    assert alone.value == pytest.approx(naive(one, list(range(50)), "mAP"))


def test_order_of_rows_does_not_matter_and_draws_repeat() -> None:
    one, two = run(1), run(2)
    shuffled = two.sample(frac=1, random_state=3)
    assert resampled_difference(one, two, draws=200) == resampled_difference(one, shuffled, draws=200)


def test_unlike_queries_unknown_metric_and_old_tables_are_refused() -> None:
    with pytest.raises(UserError, match="same queries"):
        resampled_difference(run(1), run(1, identities=13))
    with pytest.raises(UserError, match=r"unknown metric 'map'.*mAP"):
        resampled_score(run(1), "map")
    with pytest.raises(UserError, match="lacks first_hit_rank, inp, valid"):
        resampled_score(run(1)[["trial", "query", "identity", "ap"]])
    with pytest.raises(UserError, match="no valid query"):
        resampled_score(run(1).assign(valid=False))


def test_a_resample_without_the_queries_of_one_trial_rests_on_the_others() -> None:
    table = run(1)
    table = table[(table.trial == 0) | (table.identity == 3)]  # missed by about one resample in three
    found = resampled_score(table, draws=200)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < found.value < found.high
