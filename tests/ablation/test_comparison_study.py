"""What the committed comparison promises: every system, the same images, the same budget, each at its own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study
from vireid.config import ExperimentConfig
from vireid.experiment.identity import data_specification

STUDY = Path(__file__).parents[2] / "ablations" / "comparison.yaml"
TUNING = STUDY.with_name("tuning.yaml")
SYSTEMS = ["idkl", "idkl_released", "optimized", "optimized_fork", "iv_reid", "agw", "tskd", "tvi_lfm", "caj", "deen"]


@pytest.fixture(scope="module")
def configs() -> dict[str, ExperimentConfig]:
    """The configuration of every system at the first seed."""
    plan, found = make_plan(read_study(STUDY))
    first = [run for run in plan.runs if run.seed == plan.seeds[0]]
    levels = {cell.name: cell.factors["system"] for cell in plan.cells}
    return {levels[run.cell]: found[run.fit] for run in first}


@pytest.fixture(scope="module")
def tried() -> dict[str, list[ExperimentConfig]]:
    """What every system was tuned over, its own settings first."""
    plan, found = make_plan(read_study(TUNING))
    levels = {cell.name: cell.factors["system"] for cell in plan.cells}
    settings: dict[str, list[ExperimentConfig]] = {name: [] for name in SYSTEMS}
    for run in plan.runs:
        settings[levels[run.cell]].append(found[run.fit])
    return settings


def test_all_systems_are_there_with_six_seeds_that_tuning_did_not_use(configs) -> None:
    study, tuning = read_study(STUDY), read_study(TUNING)
    assert list(configs) == SYSTEMS == list(tuning.factors["system"])
    assert len(study.seeds) == 6
    assert not set(study.seeds) & set(tuning.seeds)
    assert study.report == "comparison"


def test_every_fit_draws_as_many_images(configs) -> None:
    recipes = [config.recipe for config in configs.values()]
    assert {r.total_epochs * (r.steps_per_epoch or 0) * r.batch_size for r in recipes} == {76_800}


def test_every_system_has_one_of_its_six_settings_of_the_tuning(configs, tried) -> None:
    """The same but for whose people it sees, and the protocols that are only for the final number."""
    assert {len(settings) for settings in tried.values()} == {6}
    for name, config in configs.items():
        assert _trained(config) in [_trained(setting) for setting in tried[name]], name


def _trained(config: ExperimentConfig) -> object:
    recipe = config.recipe.model_copy(update={"evaluate_every": 0})
    return config.model, config.augmentation, config.weighting, config.curriculum, recipe


def test_data_and_image_only_protocols_agree(configs) -> None:
    data = [{**data_specification(config), "captions": None} for config in configs.values()]
    assert all(one == data[0] for one in data)
    assert data[0]["split"] == "test"
    plain = [[p for p in config.evaluation.protocols if p.text == "none"] for config in configs.values()]
    assert all(one == plain[0] for one in plain)
    assert all(config.runtime.threads == 1 for config in configs.values())


def test_text_is_the_query_s_witness_or_named_an_oracle(configs) -> None:
    said = {
        name: [(p.text, p.captions) for p in config.evaluation.protocols if p.text != "none"]
        for name, config in configs.items()
    }
    assert said.pop("tvi_lfm") == [("query", "Witness_IR"), ("oracle", "Blip_RGB")]
    assert not any(said.values())


def test_tuning_begins_with_batches_of_their_own(tried) -> None:
    """Of METHODS: 12 × 10 is the batch of the released weights, 8 × (4 + 4) that of the baselines, 8 × 4 the fork's."""
    own = {name: configs[0].recipe for name, configs in tried.items()}
    batches = {name: (recipe.identities, recipe.images_per_identity) for name, recipe in own.items()}
    assert batches["idkl_released"] == (12, 10)
    assert batches["optimized_fork"] == (8, 4)
    assert {batches[name] for name in ("iv_reid", "agw", "tskd", "tvi_lfm", "caj")} == {(8, 8)}
    assert batches["deen"] == (6, 8)


def test_systems_keep_augmentation_and_stages_of_their_own(configs) -> None:
    augmentation = {name: config.augmentation for name, config in configs.items()}
    assert augmentation["optimized_fork"].name == "fork"
    assert augmentation["agw"] == augmentation["iv_reid"]
    assert augmentation["agw"].erasing.probability == 0
    assert augmentation["tskd"].exchange == 1
    assert augmentation["tvi_lfm"].name == "tvi_lfm"
    assert [stage.name for stage in configs["tskd"].recipe.stages] == ["self-mimic", "mutual distillation"]
    assert configs["optimized_fork"].recipe.accumulation == 4
    assert configs["idkl_released"].model.weights["tgsa_intra"] == 1
