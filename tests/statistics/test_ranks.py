"""Ranks against naive loops and against Demšar's worked example."""

import numpy as np
import pandas as pd
import pytest

from vireid.statistics.ranks import ranking

# Demšar, JMLR 2006, table 6: AUC of C4.5, with m, with cf, and with both, on fourteen data sets.
DEMSAR = [
    (0.763, 0.768, 0.771, 0.798), (0.599, 0.591, 0.590, 0.569), (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657), (0.882, 0.888, 0.886, 0.898), (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685), (0.583, 0.583, 0.563, 0.625), (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000), (0.940, 0.962, 0.965, 0.962), (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975), (0.957, 0.978, 0.946, 0.970),
]  # fmt: skip


def _frame(rows) -> pd.DataFrame:
    cells = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    return pd.DataFrame(
        [(cell, seed, value) for seed, row in enumerate(rows) for cell, value in zip(cells, row, strict=True)],
        columns=["cell", "seed", "mAP"],
    )


def test_the_worked_example_of_demsar() -> None:
    found = ranking(_frame(DEMSAR), "mAP")
    assert found is not None
    assert {name: round(rank, 3) for name, rank in found.ranks.items()} == pytest.approx(
        {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}, abs=1e-3
    )
    mean = np.array(list(found.ranks.values()))
    plain = 12 * 14 / (4 * 5) * ((mean**2).sum() - 4 * 5**2 / 4)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.03)  # as he gives it, ties uncorrected
    ties = sum(count**3 - count for row in DEMSAR for count in pd.Series(row).value_counts())
    chi = plain / (1 - ties / (14 * 4 * (4**2 - 1)))
    assert found.statistic == pytest.approx(13 * chi / (14 * 3 - chi), rel=1e-9)
    assert found.critical == pytest.approx(1.25, abs=0.01)  # 2.569·√(4·5/(6·14))
    assert found.cliques == [("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")]
    assert 0.01 < found.p < 0.05


def test_cliques_are_the_largest_groups_within_the_critical_difference() -> None:
    rng = np.random.default_rng(3)
    rows = [np.array([0.9, 0.89, 0.3, 0.29]) + rng.normal(0, 0.02, 4) for _ in range(40)]
    found = ranking(_frame(rows), "mAP")
    assert found is not None
    names = list(found.ranks)
    naive = set()
    for size in range(2, 5):
        for start in range(4 - size + 1):
            group = names[start : start + size]
            if found.ranks[group[-1]] - found.ranks[group[0]] <= found.critical:
                naive.add(tuple(group))
    naive = {g for g in naive if not any(set(g) < set(other) for other in naive)}
    assert set(found.cliques) == naive
    assert len(naive) == 2


def test_too_few_seeds_or_systems_give_no_ranks() -> None:
    frame = _frame(DEMSAR)
    assert ranking(frame[frame.seed < 4], "mAP") is None
    assert ranking(frame[frame.cell.isin(["C4.5", "C4.5+m"])], "mAP") is None
