from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.report.studies import FACTORS, MAIN, NOISE, SYNERGY, BuildStore, build_factorial, environment, with_plan
from vireid.core.plan import Plan
from vireid.report.effects.estimate import Effect, Family, _ratio, choose_method, families, pairs, toggles
from vireid.report.effects.phrases import Names, effects_csv, sentence
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.statistics.components import components
from vireid.statistics.seeds import Difference
from vireid.store import Store


def plain(view: StudyView, metric: str = "mAP") -> Family:
    return next(family for family in families(view, metric) if family.reranking == "no re-ranking")


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
