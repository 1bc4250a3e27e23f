from __future__ import annotations

import csv
import io
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.report.studies import FACTORS, MAIN, NOISE, SYNERGY, BuildStore, build_factorial, environment, with_plan
from vireid.core.plan import Plan
from vireid.report.effects.estimate import Effect, Family, _ratio, choose_method, code, families, pairs, toggles
from vireid.report.effects.phrases import Names, effects_csv, sentence
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.statistics.components import components
from vireid.statistics.least_squares import least_squares
from vireid.statistics.seeds import Difference, difference
from vireid.store import Store

LEVELS = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1"]}
TERMS = [(("a", "1"),), (("b", "1"),), (("c", "1"),)]
TERMS += [(("a", "1"), ("b", "1")), (("a", "1"), ("c", "1")), (("b", "1"), ("c", "1"))]
CELLS = [dict(zip(LEVELS, levels, strict=True)) for levels in product(*LEVELS.values())]
SIZES = dict.fromkeys(LEVELS, 2)


def plain(view: StudyView, metric: str = "mAP") -> Family:
    return next(family for family in families(view, metric) if family.reranking == "no re-ranking")


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


def test_factorial_study_finds_its_true_effects(factorial: Store) -> None:
    family = plain(StudyView(factorial, "factorial"))
    assert family.method == "two-way"
    assert len(family.effects) == 4 + 1 + 6
    assert family.tested == 10  # without the placebo
    by_name = {tuple(factor for factor, _ in e.parts): e for e in family.effects}
    error = 2 * NOISE / 48**0.5
    for factor, truth in MAIN.items():
        change = by_name[factor,].difference
        assert change is not None
        assert (change.n, change.df) == (3, 48 - 3 - 11)
        assert change.mean == pytest.approx(truth, abs=3.5 * error)
    assert by_name["ibn", "augmentation"].shown
    assert by_name["ibn", "augmentation"].difference.mean == pytest.approx(SYNERGY, abs=7 * error)  # type: ignore[union-attr]
    assert {e.parts[0][0] for e in family.effects if e.shown and not e.interaction} == {
        "ibn",
        "augmentation",
        "weighting",
    }
    placebo = by_name["placebo",]
    assert placebo.placebo
    assert placebo.p_holm is None
    assert placebo.difference is not None
    assert placebo.difference.contains_zero
    ratios = by_name["mha",].ratios
    assert ratios.latency == pytest.approx(1.0)
    assert ratios.step == pytest.approx(1.2, rel=0.01)
    assert ratios.memory == pytest.approx(1.3, rel=0.01)
    assert by_name["ibn",].ratios.latency == pytest.approx(1.08, rel=1e-6)


def test_main_effects_are_the_naive_paired_means_and_controls_have_no_part(factorial: Store) -> None:
    view = StudyView(factorial, "factorial")
    scores = view.scores[view.scores.reranking == "no re-ranking"].set_index(["cell", "seed"])["mAP"]
    for effect in plain(view).effects[:4]:
        assert len(effect.pairs) == 8
        naive = np.mean([scores[high, s] - scores[low, s] for low, high in effect.pairs for s in view.plan.seeds])
        assert effect.difference is not None
        assert effect.difference.mean == pytest.approx(naive, rel=1e-10)
        assert "shuffled" not in {cell for pair in effect.pairs for cell in pair}
    assert view.baseline.name == "0000"


def test_study_with_a_failed_fit_keeps_its_effects(tmp_path: Path) -> None:
    store = build_factorial(tmp_path, missing=[("0100", 101), ("1111", 103)])
    family = plain(StudyView(store, "factorial"))
    changes = [e.difference for e in family.effects]
    assert all(c is not None and c.df == 46 - 3 - 11 for c in changes)


def test_holm_goes_over_mains_and_interactions_of_one_family(factorial: Store) -> None:
    family = plain(StudyView(factorial, "factorial"))
    tested = [e for e in family.effects if not e.placebo]
    p = [e.difference.p for e in tested if e.difference]
    running = 0.0
    for rank, position in enumerate(np.argsort(p)):  # step down
        running = max(running, min(1.0, (len(p) - rank) * p[position]))  # type: ignore[operator]
        assert tested[position].p_holm == pytest.approx(running)


def test_methods_follow_what_the_cells_can_tell(factorial: Store, build_store: BuildStore) -> None:
    assert choose_method(StudyView(factorial, "factorial")) == "two-way"
    assert choose_method(StudyView(build_store(), "quick")) == "paired"
    plan = StudyView(factorial, "factorial").plan
    single = [c for c in plan.cells if c.name.isdigit() and c.name.count("1") <= 1]
    half = [c for c in plan.cells if c.name.isdigit() and c.name.count("1") % 2 == 0]
    runs = {
        name: [r for r in plan.runs if r.cell in {c.name for c in cells}]
        for name, cells in (("s", single), ("h", half))
    }
    factors = {name: levels for name, levels in plan.factors.items() if name != "placebo"}
    view = with_plan(factorial, cells=single, runs=runs["s"], factors=factors)
    assert choose_method(view) == "paired"
    view = with_plan(factorial, cells=half, runs=runs["h"], factors=factors)
    assert choose_method(view) == "main effects"  # a half fraction: no two cells differ in one factor alone
    family = plain(view)
    assert [e.interaction for e in family.effects] == [False] * 4
    scores = view.scores[view.scores.reranking == "no re-ranking"].set_index(["cell", "seed"])["mAP"]
    on = np.mean([scores[c.name, s] for c in half if c.name[0] == "1" for s in plan.seeds])
    off = np.mean([scores[c.name, s] for c in half if c.name[0] == "0" for s in plan.seeds])
    assert family.effects[0].difference is not None
    assert family.effects[0].difference.mean == pytest.approx(on - off, rel=1e-10)


def test_an_interaction_is_told_where_its_four_cells_were_planned(factorial: Store) -> None:
    plan = StudyView(factorial, "factorial").plan
    names = {"0000", "1000", "0100", "0010", "0001", "1100", "1010"}
    cells = [c for c in plan.cells if c.name in names]
    factors = {name: levels for name, levels in plan.factors.items() if name != "placebo"}
    view = with_plan(factorial, cells=cells, runs=[r for r in plan.runs if r.cell in names], factors=factors)
    assert choose_method(view) == "paired"
    family = plain(view)
    a, b, c, d = ((effect.parts[0]) for effect in family.mains)
    assert [effect.parts for effect in family.interactions] == [(a, b), (a, c)], d
    scores = view.scores[view.scores.reranking == "no re-ranking"].set_index(["cell", "seed"])["mAP"]
    for effect, other in zip(family.interactions, ("0100", "0010"), strict=True):
        both = f"1{other[1:]}"
        expected = [scores[both, s] - scores[other, s] - (scores["1000", s] - scores["0000", s]) for s in plan.seeds]
        assert effect.difference is not None
        assert effect.difference.mean == pytest.approx(np.mean(expected), rel=1e-10)
        assert effect.difference.high - effect.difference.mean == pytest.approx(
            stats.t.ppf(0.975, len(expected) - 1) * np.std(expected, ddof=1) / len(expected) ** 0.5, rel=1e-10
        )
        assert effect.p_holm is not None, "part of the family that is corrected"


def test_unlike_accelerators_are_never_pooled(tmp_path: Path) -> None:
    store = build_factorial(tmp_path)
    for run in StudyView(store, "factorial").runs:
        if run.seed == 103 and run.fit is not None:
            store.put(run.fit.model_copy(update={"environment": environment("Example GPU")}))
    found = [f for f in families(StudyView(store, "factorial")) if f.reranking == "no re-ranking"]
    assert {f.key.accelerator for f in found} == {"cpu", "Example GPU"}
    for family in found:
        seeds = 2 if family.key.accelerator == "cpu" else 1
        assert all(e.difference and e.difference.n == seeds and e.difference.p is None for e in family.effects)
        assert not any(e.shown for e in family.effects)


def test_cumulative_design_gives_one_pair_per_toggle(build_store: BuildStore) -> None:
    view = StudyView(build_store(), "quick")
    assert [(part, pairs(view, part)) for part in toggles(view)] == [
        (("ibn", "a"), (("c0", "c1"),)),
        (("mha", "guidance"), (("c1", "c2"),)),
        (("augmentation", "full"), (("c2", "c3"),)),
        (("weighting", "uncertainty"), (("c3", "c4"),)),
    ]


def test_paired_effects_are_naive_differences(build_store: BuildStore) -> None:
    view = StudyView(build_store((0, 1, 2)), "quick")
    scores = view.scores[view.scores.reranking == "no re-ranking"].set_index(["cell", "seed"])["mAP"]
    for effect in plain(view).effects:
        ((low, high),) = effect.pairs
        blocks = [scores[high, seed] - scores[low, seed] for seed in (0, 1, 2)]
        assert effect.difference is not None
        assert effect.difference.mean == pytest.approx(np.mean(blocks))
        assert effect.difference.p == pytest.approx(stats.ttest_1samp(blocks, 0.0).pvalue)


def test_old_plans_without_controls_and_placebo_are_read(factorial: Store) -> None:
    content = StudyView(factorial, "factorial").plan.model_dump(mode="json")
    content["cells"] = [{k: v for k, v in cell.items() if k != "control"} for cell in content["cells"]]
    del content["placebo"]
    plan = Plan.model_validate(content)
    assert plan.placebo == []
    assert {cell.control for cell in plan.cells} == {None}


def test_sentences(factorial: Store, build_store: BuildStore) -> None:
    view = StudyView(factorial, "factorial")
    names = Names(view)
    ibn, mha, *_, weighting, placebo = plain(view).effects[:5]
    change = Difference(0.021, 3, 0.012, 0.03, 0.001, 34)
    shown = replace(ibn, difference=change, p_holm=0.01)
    assert sentence(shown, names) == "IBN: +2.1 mAP [1.2, 3.0], latency ×1.08"
    weak = Difference(0.003, 3, -0.009, 0.015, 0.4, 34)
    assert sentence(replace(shown, difference=weak, p_holm=1.0), names) == (
        "IBN: no effect shown (+0.3 mAP [−0.9, 1.5]), latency ×1.08"
    )
    assert sentence(weighting, names).startswith("Adaptive weighting: −")
    assert sentence(replace(placebo, difference=weak), names) == (
        "Placebo: interval contains zero: yes (+0.3 mAP [−0.9, 1.5])"
    )
    assert "contains zero: NO" in sentence(replace(placebo, difference=change), names)
    both = Effect((*ibn.parts, *mha.parts), "mAP", change, p_holm=0.01)
    assert sentence(both, names) == "IBN × MHA: +2.1 mAP [1.2, 3.0], together they give more than the sum of each alone"
    assert "not estimable" in sentence(replace(ibn, difference=None), names)
    one = StudyView(build_store(), "quick")
    text = sentence(plain(one).effects[0], Names(one))
    assert text.startswith("IBN: 1 seed, no effect claimed (+")
    assert text.endswith("latency ×1.07")


def test_section_has_figure_table_and_csv_per_setting(factorial: Store, tmp_path: Path) -> None:
    report = open_report(factorial.root, "factorial", tmp_path)
    page = report.section("effects")
    assert "IBN × augmentation" in page
    assert "Holm" in page
    assert "the 10 effects" in page
    for kind in ("svg", "pdf"):
        assert (tmp_path / f"figures/effects-1.{kind}").is_file()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables/effects-1.csv").read_text())))
    assert len(rows) == 2 * 11
    assert all("not comparable" in row["data"] for row in rows)
    first = plain(report.view).effects[0]
    assert first.difference is not None
    assert float(rows[0]["low"]) == first.difference.low
    assert rows[0]["df"] == "34"
    table = pd.read_csv(io.StringIO(effects_csv([plain(report.view)], Names(report.view))))
    assert table.placebo.sum() == 1
    assert list(FACTORS) == ["ibn", "mha", "augmentation", "weighting"]


def test_a_cost_of_nothing_has_no_ratio() -> None:
    values = {"a": 2.0, "b": 6.0, "c": 0.0, "d": 5.0}
    assert _ratio(values, [("a", "b"), ("c", "d")]) == pytest.approx(3)
    assert _ratio(values, [("c", "d"), ("d", "c")]) is None


def test_a_random_factor_has_a_variance_and_no_effects(factorial: Store, tmp_path: Path) -> None:
    view = with_plan(factorial, random=["ibn", "mha", "augmentation", "weighting", "placebo"])
    assert families(view) == []
    page = open_report(view.store.root, "changed", tmp_path).section("scatter")
    rows = view.scores[view.scores.cell.isin(["0000", "1000"]) & (view.scores.reranking == "no re-ranking")]
    expected = components(rows.pivot_table(index="cell", columns="seed", values="mAP").to_numpy())
    assert expected is not None
    assert page.count("2 × 3") == 4 * 2  # every factor but the placebo, on mAP and R1
    for value in (expected.rows, expected.columns, expected.rest):
        assert f">{100 * value:.1f}<" in page
    assert open_report(factorial.root, "factorial", tmp_path).section("scatter") == ""
