"""Planning: ids follow what decides a result and nothing else, and faults are named before anything runs."""

import json
from pathlib import Path

import pytest

from vireid.ablation.plan import make_plan, replaced
from vireid.ablation.study import Study, read_study
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.identity import is_run_id
from vireid.core.plan import PlannedRun

STUDIES = sorted((Path(__file__).parents[2] / "ablations").glob("*.yaml"))
REFERENCE = Path(__file__).parents[2] / "ablations" / "optimized_idkl.yaml"
SIMPLE = REFERENCE.with_name("smoke.yaml")
REAL = ["data=sysu"]


def _fits(overrides=(), **options):
    plan, _ = make_plan(read_study(SIMPLE), overrides, seeds=[1], **options)
    return [run.fit for run in plan.runs if "system=" not in run.cell]  # which chooses a model of its own


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_committed_study_plans(file):
    study = read_study(file)
    plan, configs = make_plan(study)
    assert study.name == file.stem
    assert len(plan.runs) == len(plan.cells) * len(plan.seeds)
    assert all(is_run_id(run.fit) for run in plan.runs)
    assert len({run.fit for run in plan.runs}) == len(plan.runs) == len(configs)
    assert sum(cell.baseline for cell in plan.cells) == 1
    assert not any(cell.baseline for cell in plan.cells if cell.control is not None)


def test_the_reference_study_has_every_combination_with_controls_and_plans_without_data():
    plan, configs = make_plan(read_study(REFERENCE), [*REAL, "data.hold_out_dev=true", "data.root=/nowhere/at/all"])
    assert len([cell for cell in plan.cells if cell.control is None]) == 16
    assert len(plan.seeds) >= 3
    assert plan.placebo == ["placebo"]
    shuffled = [run for run in plan.runs if run.cell == "control=shuffled identities"]
    assert len(shuffled) == len(plan.seeds)
    assert all(configs[run.fit].data.shuffle_identities for run in shuffled)


def test_a_placebo_is_another_draw_of_everything_but_the_data():
    plan, configs = make_plan(read_study(REFERENCE), seeds=[1])
    by_cell = {run.cell: configs[run.fit] for run in plan.runs}
    one, two = by_cell["baseline"], by_cell["ibn=fork,placebo=on"]
    assert one.data == two.data
    assert (one.training_seed, one.seed) == (1, 1)
    assert two.seed == 1
    assert two.training_seed != 1


@pytest.mark.parametrize(
    "change",
    [
        "data.root=/elsewhere",
        "runtime.workers=7",
        "runtime.device=cpu",
        "runtime.threads=1",
        "profile.batches=[4]",
    ],
)
def test_ids_do_not_follow_where_and_how_a_run_is_carried_out(change):
    assert _fits([*REAL, change]) == _fits(REAL)


@pytest.mark.parametrize(
    "change",
    [
        "recipe.optimiser.lr=0.002",
        "recipe.epochs=7",
        "recipe.identities=2",
        "model.margin=0.9",
        "model.width=0.75",
        "data.height=128",
        "data.split=dev",
    ],
)
def test_ids_follow_what_decides_a_result(change):
    before, after = _fits(REAL), _fits([*REAL, change])
    assert not set(before) & set(after)


def test_ids_follow_the_content_of_a_weights_file_and_neither_its_name_nor_its_folder(tmp_path):
    for name, content in {"a/best.pth": b"one", "b/best.pth": b"two", "b/copy.pth": b"one"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    first, second, copy = (
        _fits([*REAL, f"model.pretrained={tmp_path / name}"]) for name in ("a/best.pth", "b/best.pth", "b/copy.pth")
    )
    assert first == copy
    assert not {*first} & {*second, *_fits(REAL)}
    (tmp_path / "a/best.pth").write_bytes(b"two")
    assert _fits([*REAL, f"model.pretrained={tmp_path / 'a/best.pth'}"]) == second


def test_a_missing_weights_file_is_named_at_planning_with_its_cell():
    with pytest.raises(UserError, match=r"cell baseline: model\.pretrained = /no/x\.pth: no such file.*content"):
        _fits([*REAL, "model.pretrained=/no/x.pth"])


def test_committed_studies_keep_their_ids():
    for file in sorted(REFERENCE.parent.glob("*.yaml")):
        committed = REFERENCE.parents[1] / "results" / "studies" / file.stem / "plan.json"
        if committed.is_file():
            kept = [PlannedRun.model_validate(run) for run in json.loads(committed.read_text())["runs"]]
            # The same run in other words keeps its ids. Those of int8 files hold the kernels of the machine that plans.
            spelled: dict[str, list[str]] = {"overrides": [], "deployed": []}
            found = make_plan(read_study(file))[0].runs
            assert [run.model_copy(update=spelled) for run in found] == [
                run.model_copy(update=spelled) for run in kept
            ], file.stem


def test_what_a_choice_replaces_of_the_base_is_known():
    study = read_study(REFERENCE)
    assert replaced(study, []) == replaced(study, ["data.root=/data", "recipe.epochs=3"]) == []
    gone = replaced(study, ["data=sysu", "data.split=test", "recipe=idkl"])
    assert gone == ["data.synthetic.train_ids=1000", "data.hold_out_dev=true", "recipe.evaluate_every=5"]


def test_two_cells_that_are_one_run_are_refused_with_both_names():
    study = read_study(REFERENCE)
    factors = {**study.factors, "idle": {"off": [], "on": ["data.root=/elsewhere"]}}
    changed = study.model_copy(update={"factors": factors, "design": "one_at_a_time", "placebo": []})
    with pytest.raises(UserError, match="cell baseline at seed 1 and cell idle=on at seed 1 are one run"):
        make_plan(changed, seeds=[1])


def test_ids_follow_the_seed_and_the_rendered_data():
    study = read_study(REFERENCE)
    one, two = (make_plan(study, seeds=[seed])[0].runs[0].fit for seed in (1, 2))
    assert one != two
    assert make_plan(study, ["data.synthetic.train_ids=99"], seeds=[1])[0].runs[0].fit != one


def test_an_impossible_cell_fails_in_planning_with_its_name_and_reason():
    with pytest.raises(UserError, match=r"cell baseline: model\.ibn = 'z'|model\.backbone = 'resnet19'"):
        make_plan(read_study(REFERENCE), ["model.backbone=resnet19"])


def test_overriding_what_a_factor_sets_is_refused():
    with pytest.raises(UserError, match="the factor 'ibn' sets this key"):
        make_plan(read_study(REFERENCE), ["model.ibn=a"])


def test_only_keeps_the_baseline_and_matching_cells():
    plan, _ = make_plan(read_study(REFERENCE), only=["ibn=fork", "mha=guidance"])
    assert [cell.baseline for cell in plan.cells if cell.control is None] == [True] + [False] * 4
    assert all(cell.factors["ibn"] == "fork" for cell in plan.cells[1:] if cell.control is None)
    with pytest.raises(UserError, match="has no level 'forks'"):
        make_plan(read_study(REFERENCE), only=["ibn=forks"])


def test_labels_name_the_level_unless_the_factor_is_a_switch():
    data = {
        "name": "s",
        "title": "S",
        "base": ["data=sysu_quick"],
        "design": "one_at_a_time",
        "factors": {
            "ibn": {"none": ["model.ibn=none"], "a": ["model.ibn=a"]},
            "trunk": {"small": ["model.backbone=resnet18"], "large": ["model.backbone=resnet34"]},
        },
        "labels": {"ibn": "IBN"},
        "seeds": [1],
    }
    plan, _ = make_plan(parse(Study, data, "test"))
    assert [cell.label for cell in plan.cells] == ["baseline", "+ IBN", "+ trunk large"]


def test_a_missing_study_names_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'quick'"):
        read_study(REFERENCE.parent / "quik.yaml")
