"""Effects by least squares on model matrices, against naive means, nested models and simulated truths."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from vireid.report.effects.estimate import code
from vireid.statistics.least_squares import least_squares
from vireid.statistics.seeds import Difference, difference

LEVELS = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1"]}
TERMS = [(("a", "1"),), (("b", "1"),), (("c", "1"),)]
TERMS += [(("a", "1"), ("b", "1")), (("a", "1"), ("c", "1")), (("b", "1"), ("c", "1"))]
CELLS = [dict(zip(LEVELS, levels, strict=True)) for levels in product(*LEVELS.values())]
SIZES = dict.fromkeys(LEVELS, 2)


def test_balanced_factorial_equals_mean_differences() -> None:
    rng = np.random.default_rng(4)
    seeds = [seed for seed in range(3) for _ in CELLS]
    matrix = code(CELLS * 3, TERMS, SIZES)
    values = rng.normal(0.3, 0.05, len(seeds)) + np.repeat(rng.normal(0, 0.2, 3), len(CELLS))
    fitted = least_squares(values, seeds, matrix, [3] * len(TERMS))
    assert fitted.level == "pooled"
    found = fitted.differences
    table = {(seed, tuple(cell.values())): value for seed, cell, value in zip(seeds, CELLS * 3, values, strict=True)}

    def mean(**fixed: str) -> float:
        kept = [v for (_, cell), v in table.items() if all(cell["abc".index(n)] == x for n, x in fixed.items())]
        return sum(kept) / len(kept)

    naive = [mean(**{n: "1"}) - mean(**{n: "0"}) for n in "abc"]
    naive += [
        (mean(**{x: "1", y: "1"}) - mean(**{x: "0", y: "1"})) - (mean(**{x: "1", y: "0"}) - mean(**{x: "0", y: "0"}))
        for x, y in combinations("abc", 2)
    ]
    assert [f.mean for f in found if f] == pytest.approx(naive, rel=1e-12)
    df = 3 * 8 - 3 - 6
    fit = np.array([sum(values[i] for i in range(24) if seeds[i] == s) / 8 for s in seeds])
    fit += sum(c * matrix[:, k] for k, c in enumerate(naive))
    variance = sum((v - f) ** 2 for v, f in zip(values, fit, strict=True)) / df
    for k, effect in enumerate(found):
        assert effect is not None
        error = (variance / sum(x * x for x in matrix[:, k])) ** 0.5
        half = stats.t.ppf(0.975, df) * error
        assert effect.df == df
        assert (effect.low, effect.high) == pytest.approx((naive[k] - half, naive[k] + half), rel=1e-9)
        assert effect.p == pytest.approx(2 * stats.t.sf(abs(naive[k]) / error, df), rel=1e-9)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    seeds = [seed for seed in range(3) for _ in CELLS]
    matrix = code(CELLS * 3, TERMS, SIZES)
    truth = np.array([0.02, -0.01, 0.0, 0.015, 0.0, 0.0])
    covered, significant, repeats = np.zeros(len(TERMS)), np.zeros(len(TERMS)), 500
    for _ in range(repeats):
        blocks = np.repeat(rng.normal(0, 0.05, 3), len(CELLS))
        values = 0.3 + blocks + matrix @ truth + rng.normal(0, 0.01, len(seeds))
        found = least_squares(values, seeds, matrix, [3] * len(TERMS)).differences
        covered += [
            f is not None and f.low is not None and f.low <= t <= f.high for f, t in zip(found, truth, strict=True)
        ]  # type: ignore[operator]
        significant += [f is not None and f.p is not None and f.p < 0.05 for f in found]
    assert covered / repeats == pytest.approx(0.95, abs=0.03)  # three standard errors of 500 repeats
    assert significant[[2, 4, 5]] / repeats == pytest.approx(0.05, abs=0.03)
    assert covered.mean() / repeats == pytest.approx(0.95, abs=0.012)


WIDE = {name: ["0", "1"] for name in "abcd"}
WIDE_TERMS = [((name, "1"),) for name in WIDE] + [((x, "1"), (y, "1")) for x, y in combinations(WIDE, 2)]
WIDE_MATRIX = code(
    [dict(zip(WIDE, row, strict=True)) for row in product(*WIDE.values())] * 6, WIDE_TERMS, dict.fromkeys(WIDE, 2)
)
WIDE_SEEDS = [seed for seed in range(6) for _ in range(16)]


def test_effect_by_seed_test_is_the_f_test_of_nested_models() -> None:
    rng = np.random.default_rng(5)
    values = 0.4 + np.repeat(rng.normal(0, 0.05, 6), 16) + rng.normal(0, 0.01, 96)
    fitted = least_squares(values, WIDE_SEEDS, WIDE_MATRIX, [6] * 10)

    def squares(design: np.ndarray) -> float:
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return float(left @ left)

    blocks = np.kron(np.eye(6), np.ones((16, 1)))
    one, own = np.hstack([blocks, WIDE_MATRIX]), np.kron(np.eye(6), np.hstack([np.ones((16, 1)), WIDE_MATRIX[:16]]))
    f = ((squares(one) - squares(own)) / 50) / (squares(own) / 30)
    assert fitted.test.df == (50, 30)
    assert fitted.test.interaction_f == pytest.approx(f, rel=1e-9)
    assert fitted.test.interaction_p == pytest.approx(stats.f.sf(f, 50, 30), rel=1e-9)
    left = values - own @ np.linalg.lstsq(own, values, rcond=None)[0]
    variances = left.reshape(6, 16)
    assert fitted.test.spread_p == pytest.approx(_bartlett_of(variances, 5), rel=1e-9)


def _bartlett_of(residuals: np.ndarray, free: int) -> float:
    """Bartlett (1937), as it stands in Snedecor and Cochran."""
    k, own = len(residuals), (residuals**2).sum(1) / free
    statistic = k * free * np.log(own.mean()) - free * np.log(own).sum()
    return float(stats.chi2.sf(statistic / (1 + (k + 1) / (3 * k * free)), k - 1))


def test_effects_that_differ_between_seeds_are_judged_by_seeds() -> None:
    """Where a seed has effects of its own a pooled interval covers the mean of all seeds far too rarely."""
    rng = np.random.default_rng(17)
    covered, levels, repeats = np.zeros(10), [], 300
    for _ in range(repeats):
        own = np.repeat(rng.normal(0, 0.03, (6, 10)), 16, axis=0)
        values = 0.4 + (WIDE_MATRIX * own).sum(1) + rng.normal(0, 0.01, 96)
        fitted = least_squares(values, WIDE_SEEDS, WIDE_MATRIX, [6] * 10)
        levels.append(fitted.level)
        covered += [d is not None and d.low is not None and d.low <= 0 <= d.high for d in fitted.differences]  # type: ignore[operator]
    assert levels.count("seeds") > 0.95 * repeats
    assert covered.mean() / repeats == pytest.approx(0.95, abs=0.02)
    assert {d.df for d in fitted.differences if d} == {5}


def test_blocks_that_scatter_unlike_are_judged_by_seeds() -> None:
    rng = np.random.default_rng(23)
    scatter = np.repeat([0.002, 0.002, 0.002, 0.002, 0.002, 0.05], 16)
    fitted = least_squares(0.4 + rng.normal(0, 1, 96) * scatter, WIDE_SEEDS, WIDE_MATRIX, [6] * 10)
    assert fitted.test.spread_p is not None
    assert fitted.test.spread_p < 0.01
    assert fitted.level == "seeds"


def test_detectable_effect_is_shown_in_four_of_five_repetitions() -> None:
    rng = np.random.default_rng(31)
    first = difference(list(rng.normal(0, 0.02, 6)))
    assert first is not None
    assert first.error is not None
    for tests in (1, 10):
        effect = first.detectable(tests)
        assert effect is not None
        scaled = effect / (first.error * 6**0.5)  # in standard deviations of a seed
        draws = rng.normal(scaled, 1, (20_000, 6))
        p = stats.ttest_1samp(draws, 0, axis=1).pvalue
        assert (p < 0.05 / tests).mean() == pytest.approx(0.8, abs=0.012)
    assert Difference(0.1, 2).detectable() is None


def test_three_levels_are_contrasts_to_the_baseline() -> None:
    rng = np.random.default_rng(2)
    cells = [{"a": a, "b": b} for a in ("0", "1", "2") for b in ("0", "1")]
    terms = [(("a", "1"),), (("a", "2"),), (("b", "1"),), (("a", "1"), ("b", "1")), (("a", "2"), ("b", "1"))]
    values = rng.normal(size=18)
    found = least_squares(
        values, [s for s in range(3) for _ in cells], code(cells * 3, terms, {"a": 3, "b": 2}), [3] * 5
    ).differences
    mean = {tuple(cell.values()): values[i::6].mean() for i, cell in enumerate(cells)}
    expected = [
        *((mean[x, "0"] + mean[x, "1"] - mean["0", "0"] - mean["0", "1"]) / 2 for x in "12"),
        sum(mean[x, "1"] - mean[x, "0"] for x in "012") / 3,
        *(mean[x, "1"] - mean["0", "1"] - mean[x, "0"] + mean["0", "0"] for x in "12"),
    ]
    assert [f.mean for f in found if f] == pytest.approx(expected, rel=1e-10)


def test_missing_rows_are_borne_and_what_they_hide_is_named() -> None:
    rng = np.random.default_rng(8)
    seeds = [seed for seed in range(3) for _ in CELLS]
    matrix = code(CELLS * 3, TERMS, SIZES)
    truth = np.array([0.02, -0.01, 0.03, 0.01, -0.02, 0.0])
    values = np.repeat([0.1, 0.5, 0.3], 8) + matrix @ truth
    kept = [n for n in range(24) if n not in (3, 12, 20)]
    found = least_squares(values[kept], [seeds[n] for n in kept], matrix[kept], [3] * 6).differences
    assert [f.mean for f in found if f] == pytest.approx(truth, abs=1e-12)
    noisy = values[kept] + rng.normal(0, 0.01, len(kept))
    pooled = least_squares(noisy, [seeds[n] for n in kept], matrix[kept], [3] * 6)
    assert pooled.test.interaction_p is None  # seven terms of seven cells: nothing within a seed to test against
    assert {f.df for f in pooled.differences if f} == {21 - 3 - 6}
    never_both = [n for n in range(24) if not (CELLS[n % 8]["a"] == CELLS[n % 8]["b"] == "1")]
    told = least_squares(values[never_both], [seeds[n] for n in never_both], matrix[never_both], [3] * 6).differences
    assert [f is None for f in told] == [True, True, False, True, False, False]
    assert least_squares(values[:0], [], matrix[:0], [0] * 6).differences == [None] * 6


def test_under_three_seeds_a_coefficient_has_no_interval() -> None:
    matrix = code(CELLS * 2, TERMS, SIZES)
    found = least_squares(np.arange(16.0), [0] * 8 + [1] * 8, matrix, [2] * 6).differences
    assert all(f is not None and f.low is f.p is None for f in found)
