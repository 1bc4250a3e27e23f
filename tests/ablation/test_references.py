"""Cells named by cell: ids at every seed, and what cannot be resolved."""

from pathlib import Path

import pytest
import yaml

from vireid.ablation.plan import make_plan
from vireid.ablation.study import Study, read_study
from vireid.core.errors import UserError
from vireid.core.shipped import shipped
from vireid.experiment.identity import RunIds

BASE = ["data=sysu_quick", "recipe=smoke"]
LEVELS = {
    "plain": ["model=idkl_small"],
    "longer": ["model=idkl_small", "start_from={cell: plain}", "recipe.epochs=2"],
    "student": [
        "model=compact_small",
        "model.teacher={cell: 'network=longer', input: student}",
        "model.teacher_features=128",
    ],
}


def study(levels: dict[str, list[str]] = LEVELS, **changes: object) -> Study:
    settings = {"name": "chain", "title": "Chain", "base": BASE, "design": "one_at_a_time", "seeds": [1, 2]}
    return Study.model_validate({**settings, "factors": {"network": levels}, **changes})


def test_a_cell_builds_on_the_fit_of_its_seed():
    plan, configs = make_plan(study())
    fits = {(run.cell, run.seed): run.fit for run in plan.runs}
    for seed in (1, 2):
        assert configs[fits["network=longer", seed]].start_from == fits["baseline", seed]
        teacher = configs[fits["network=student", seed]].model.teacher
        assert (teacher.run, teacher.input) == (fits["network=longer", seed], "student")
    assert len(set(fits.values())) == 6
    (overrides,) = [run.overrides for run in plan.runs if (run.cell, run.seed) == ("network=longer", 2)]
    assert f"start_from='{fits['baseline', 2]}'" in overrides


def test_it_is_the_run_that_the_id_by_hand_gives():
    plan, _ = make_plan(study())
    start = plan.runs[0].fit
    by_hand = study(LEVELS | {"longer": [*LEVELS["longer"][::2], f"start_from='{start}'"]}, seeds=[1])
    assert [run.fit for run in make_plan(by_hand)[0].runs] == [run.fit for run in plan.runs if run.seed == 1]


def test_a_cell_that_is_left_out_is_still_known():
    plan, configs = make_plan(study(seeds=[1]), only=["network=student"])
    assert [run.cell for run in plan.runs] == ["baseline", "network=student"]
    whole = {run.cell: run.fit for run in make_plan(study(seeds=[1]))[0].runs}
    assert RunIds(configs[plan.runs[1].fit]).teacher == whole["network=longer"]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"longer": ["start_from={cell: plian}"]}, r"cell network=longer: \{cell: plian\}.*did you mean 'plain'"),
        (
            {"longer": ["start_from={cell: student}"], "student": ["start_from={cell: longer}"]},
            "builds on itself: .* → ",
        ),
        ({"longer": ["start_from={cell: plain, input: own}"]}, "beside 'cell' nothing may be set; found input"),
    ],
)
def test_what_cannot_be_resolved_is_named(levels: dict[str, list[str]], message: str):
    with pytest.raises(UserError, match=message):
        make_plan(study(LEVELS | levels))


def test_a_level_of_two_factors_needs_the_cell_s_whole_name():
    factors = {
        "network": {**LEVELS, "on": ["model=idkl_small", "recipe.epochs=3"]},
        "more": {"off": [], "on": ["stream=1"]},
    }
    factors["network"]["longer"] = ["model=idkl_small", "start_from={cell: on}"]
    with pytest.raises(UserError, match="network=on and more=on: give the cell's whole name"):
        make_plan(study(factors=factors))
    factors["network"]["longer"] = ["model=idkl_small", "start_from={cell: 'more=on'}"]
    plan, configs = make_plan(study(factors=factors, seeds=[1]))
    fits = {run.cell: run.fit for run in plan.runs}
    assert configs[fits["network=longer"]].start_from == fits["more=on"]


def test_committed_studies_name_no_fit_by_id():
    for file in Path(shipped("ablations")).glob("*.yaml"):
        text = yaml.safe_dump(read_study(file).model_dump(mode="json"))
        assert "start_from='" not in text, file
        assert "{run:" not in text, file
