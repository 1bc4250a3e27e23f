"""A student's teacher: what identifies it, what is said when it is missing or another's, and training with it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import tiny
from vireid.ablation.plan import check_earlier_fits, in_waves, make_plan
from vireid.ablation.study import Study
from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import FitRecord
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.experiment.identity import RunIds
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.experiment.start import check_teacher
from vireid.external.audit import save_imported
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.importers.load import Imported
from vireid.overrides import compose
from vireid.store import Store

TRAINING = "{training: ['model=idkl_small', 'model.width=0.125', 'recipe=smoke'], height: 64, width: 32}"
FEATURES = 64  # of a ResNet-18 at an eighth of its width


def student(root: Path, teacher: str | None = TRAINING, *overrides: str) -> ExperimentConfig:
    settings = [f"data.root={root}", "model=compact_small", "data.height=48", "data.width=24"]
    if teacher is not None:
        settings += [f"model.teacher={teacher}", f"model.teacher_features={FEATURES}"]
    return tiny(*settings, *overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, rendered: Path) -> tuple[Store, FitRecord]:
    """A store that holds a teacher; not to be changed."""
    store = Store(tmp_path_factory.mktemp("teacher"))
    return store, fit_step(RunContext(tiny(f"data.root={rendered}"), store))


@pytest.fixture
def store(trained: tuple[Store, FitRecord], tmp_path: Path) -> Store:
    """A copy that a test may change."""
    shutil.copytree(trained[0].root, tmp_path / "store")
    return Store(tmp_path / "store")


def exported(folder: Path, classes: int = 6) -> Path:
    torch.manual_seed(0)
    model = IDKL(IDKLConfig(backbone="resnet18", width=0.125), classes).eval()
    folder.mkdir(parents=True)
    source = folder / "source.pth"
    source.write_bytes(b"")
    save_imported(Imported(model, classes, {}, {}), source, "idkl", folder)
    return folder


def test_a_teacher_is_identified_by_its_fit_however_it_is_named(rendered: Path, trained: Any) -> None:
    run = trained[1].id
    by_training, by_run = student(rendered), student(rendered, f"{{run: '{run}'}}")
    assert RunIds(by_training).teacher == RunIds(by_run).teacher == run
    assert RunIds(by_training).fit == RunIds(by_run).fit
    assert RunIds(by_training).fit_specification()["model"]["teacher"]["run"] == run
    others = [
        student(rendered, None),
        student(rendered, TRAINING.replace("smoke']", "smoke', 'recipe.epochs=3']")),
        student(rendered, TRAINING.replace("smoke']", "smoke', 'seed=5']")),
        student(rendered, TRAINING.replace("32}", "32, input: student}")),
        student(rendered, "{run: '0123456789ab'}"),
    ]
    assert len({RunIds(config).fit for config in (by_run, *others)}) == 1 + len(others)
    assert RunIds(by_run).cost == RunIds(others[2]).cost == RunIds(by_training).cost
    assert RunIds(others[0]).teacher is None


def test_the_teacher_is_trained_at_the_students_seed_and_size_unless_told_otherwise(rendered: Path) -> None:
    unsized = TRAINING.replace(", height: 64, width: 32", "")
    same = RunIds(tiny(f"data.root={rendered}", "data.height=48", "data.width=24")).fit
    assert RunIds(student(rendered, unsized)).teacher == same
    ninth = RunIds(tiny(f"data.root={rendered}", "seed=9")).fit
    assert RunIds(student(rendered, TRAINING, "seed=9")).teacher == ninth != RunIds(student(rendered)).teacher


def test_what_the_teacher_does_not_choose_is_the_student_s(rendered: Path) -> None:
    changes = ["recipe.epochs=5", "augmentation=crop_flip", "weighting=dwa"]
    teacher = "{training: ['model=idkl_small', 'model.width=0.125'], height: 64, width: 32}"
    assert RunIds(student(rendered, teacher, *changes)).teacher == RunIds(tiny(f"data.root={rendered}", *changes)).fit
    changes[0] = "recipe=smoke"
    assert (
        RunIds(student(rendered, TRAINING, "recipe.epochs=5", *changes[1:])).teacher
        == RunIds(tiny(f"data.root={rendered}", *changes)).fit
    )


def test_a_missing_teacher_is_named_with_the_command_that_trains_it(rendered: Path, tmp_path: Path) -> None:
    config = student(rendered)
    with pytest.raises(UserError, match=f"teacher {RunIds(config).teacher} is not in .*; train it first: ") as caught:
        fit_step(RunContext(config, Store(tmp_path)))
    command = str(caught.value).partition("train it first: ")[2]
    words = shlex.split(command)
    assert words[:2] == ["vireid", "train"]
    assert RunIds(compose(words[2:])).fit == RunIds(config).teacher
    with pytest.raises(UserError, match="name a finished fit"):
        check_teacher(RunContext(student(rendered, "{run: '0123456789ab'}"), Store(tmp_path)))


def test_a_teacher_that_does_not_fit_is_refused_before_any_training(rendered: Path, store: Store) -> None:
    (run,) = (record.id for record in store.records())
    teacher = f"{{run: '{run}'}}"
    check_teacher(RunContext(student(rendered, teacher), store))
    for change, message in (
        ("data.split=test", r"was trained on other data than the student \(data\.split\)"),
        ("data.synthetic.seed=5", r"was trained on other data than the student \(data\.synthetic\)"),
        ("model.teacher_features=65", "its embedding has 64 values: set model.teacher_features=64"),
    ):
        with pytest.raises(UserError, match=message):
            check_teacher(RunContext(student(rendered, teacher, change), store))
    evaluate_step(RunContext(tiny(f"data.root={rendered}"), store))
    evaluation = RunIds(tiny()).evaluation(tiny().evaluation.protocols[0])
    with pytest.raises(UserError, match="is a record of kind 'evaluation'"):
        check_teacher(RunContext(student(rendered, f"{{run: '{evaluation}'}}"), store))
    weights = weights_file(store, run)
    state = load_file(weights)
    save_file({key: value for key, value in state.items() if key != "heads.shared.weight"}, weights)
    with pytest.raises(UserError, match=r"has no 'heads\.shared\.weight'"):
        check_teacher(RunContext(student(rendered, teacher), store))
    weights.unlink()
    with pytest.raises(UserError, match="are gone"):
        check_teacher(RunContext(student(rendered, teacher), store))


def test_overrides_of_the_student_s_own_are_refused(rendered: Path) -> None:
    for override in ("data.height=8", "runtime.threads=2", "data=llcm"):
        with pytest.raises(UserError, match=f"'{override}': .* is the student's"):
            RunIds(student(rendered, TRAINING.replace("recipe=smoke", override))).fit_specification()
    for override, message in (
        ("recipe.epochs=3", "put recipe=… before it"),
        ("model.width=0.25", "put model=… before it"),
    ):
        with pytest.raises(UserError, match=message):
            RunIds(student(rendered, f"{{training: ['{override}']}}")).fit_specification()
    with pytest.raises(UserError, match="no model is chosen"):
        RunIds(student(rendered, "{training: ['recipe=idkl']}")).fit_specification()
    with pytest.raises(UserError, match=r"model\.teacher\.training.*did you mean 'idkl_small'"):
        RunIds(student(rendered, TRAINING.replace("idkl_small", "idkl_smal"))).fit_specification()


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_in_the_second_epoch(phase: str, done: int, total: int, *_: Any) -> None:
    if phase == "train" and done > total // 2:
        raise KilledError


def test_a_student_trains_resumes_exactly_and_is_evaluated_without_its_teacher(rendered: Path, store: Store) -> None:
    config = student(rendered)
    run = RunIds(config).teacher
    assert run is not None
    before = file_digest(weights_file(store, run))
    parts = Store(store.root.parent / "parts")
    shutil.copytree(store.root, parts.root)
    fit = fit_step(RunContext(config, store))
    assert {"kd_feature", "kd_relation", "kd_csa1", "kd_csa2"} < fit.curves[-1]["terms"].keys()
    assert fit.config["model"]["teacher"]["run"] == run
    assert file_digest(weights_file(store, run)) == before
    saved = load_file(weights_file(store, fit.id))
    assert {name.partition(".")[0] for name in saved} == {"embedder", "heads", "projection"}

    with pytest.raises(KilledError):
        fit_step(RunContext(config, parts, kill_in_the_second_epoch))
    fit_step(RunContext(config, parts))
    assert weights_file(parts, fit.id).read_bytes() == weights_file(store, fit.id).read_bytes()

    weights_file(store, run).unlink()
    again = config_of_fit(fit, ["sysu/official"], rendered, store)
    assert RunIds(again).fit == fit.id
    (evaluation,) = evaluate_step(RunContext(again, store))
    assert 0 < evaluation.metrics["mAP"] <= 1
    cost = cost_step(RunContext(again, store))
    assert cost.parameters["dead"] == 0
    assert cost.model["teacher"] is None
    # At 395 classes: the classifier, the projection, and nothing of the teacher.
    assert cost.parameters["training_only"] == FEATURES * 395 + FEATURES * FEATURES


def test_the_teacher_decides_the_student_s_weights(rendered: Path, store: Store) -> None:
    def weights(teacher: str) -> dict[str, torch.Tensor]:
        return load_file(weights_file(store, fit_step(RunContext(student(rendered, teacher), store)).id))

    own, shown_as_it_is = weights(TRAINING), weights(TRAINING.replace("32}", "32, input: student}"))
    assert not torch.equal(own["projection.weight"], shown_as_it_is["projection.weight"])


def test_other_images_than_the_teacher_s_are_noticed(rendered_copy: Path, store: Store) -> None:
    first, *others = sorted((rendered_copy / "cam1").rglob("*.jpg"))
    for other in others:
        other.write_bytes(first.read_bytes())
    with pytest.raises(UserError, match="was trained on other images than the student's"):
        fit_step(RunContext(student(rendered_copy), store))


def test_an_exported_model_teaches_and_is_identified_by_its_content(rendered: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path / "one")
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "two")

    def config(directory: Path, more: str = "height: 64, width: 32") -> ExperimentConfig:
        return student(rendered, f"{{file: {directory}, {more}}}")

    assert RunIds(config(folder)).fit == RunIds(config(moved)).fit != RunIds(config(folder, "input: student")).fit
    assert RunIds(config(folder)).teacher is None
    store = Store(tmp_path / "store")
    fit = fit_step(RunContext(config(folder), store))
    named = fit.config["model"]["teacher"]
    assert (named["file"], len(named["digest"])) == ("one", 64)

    before = RunIds(config(folder)).fit
    state = load_file(folder / "model.safetensors")
    save_file({key: 2 * value for key, value in state.items()}, folder / "model.safetensors")
    assert RunIds(config(folder)).fit != before
    pinned = config(folder, f"height: 64, width: 32, digest: '{named['digest']}'")
    with pytest.raises(UserError, match="another model"):
        fit_step(RunContext(pinned, Store(tmp_path / "other")))
    shutil.rmtree(folder)
    assert RunIds(config_of_fit(fit, ["sysu/official"], rendered, store)).fit == fit.id
    with pytest.raises(UserError, match=r"no model\.json in"):
        RunIds(config(folder)).fit_specification()


def test_an_exported_teacher_of_other_identities_is_refused(rendered: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path / "seven", classes=7)
    with pytest.raises(UserError, match="knows 7 identities, the student is trained on 6"):
        fit_step(RunContext(student(rendered, f"{{file: {folder}, input: student}}"), Store(tmp_path / "store")))


def test_a_planned_teacher_comes_before_its_students(rendered: Path, tmp_path: Path) -> None:
    teacher, taught, plain = tiny(f"data.root={rendered}"), student(rendered), student(rendered, None)
    configs = {RunIds(config).fit: config for config in (taught, teacher, plain)}
    assert in_waves(configs) == [[RunIds(teacher).fit, RunIds(plain).fit], [RunIds(taught).fit]]
    check_earlier_fits(configs, Store(tmp_path))
    del configs[RunIds(teacher).fit]
    with pytest.raises(UserError, match="train it first"):
        check_earlier_fits(configs, Store(tmp_path))


def test_a_study_crosses_seeds_with_teachers_of_their_own() -> None:
    study = Study(
        name="x",
        title="x",
        base=["data=sysu_quick"],
        design="explicit",
        factors={
            "model": {"teacher": ["model=idkl_small"], "small": ["model=compact_small"]},
            "taught": {
                "no": [],
                "yes": ["model.teacher={training: ['model=idkl_small']}", "model.teacher_features=128"],
            },
        },
        cells=[{"model": "small"}, {"model": "small", "taught": "yes"}],
        seeds=[1, 2],
    )
    plan, configs = make_plan(study)
    for seed in (1, 2):
        runs = {run.cell: run.fit for run in plan.runs if run.seed == seed}
        assert RunIds(configs[runs["model=small,taught=yes"]]).teacher == runs["baseline"]
