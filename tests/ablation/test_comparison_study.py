"""What the committed comparison promises: every system, the same images, the same budget, each at its own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study
from vireid.config import ExperimentConfig
from vireid.experiment.identity import data_specification

STUDY = Path(__file__).parents[2] / "ablations" / "comparison.yaml"
SYSTEMS = ["idkl", "idkl_released", "optimized", "optimized_fork", "iv_reid", "agw", "tskd", "tvi_lfm"]


@pytest.fixture(scope="module")
def configs() -> dict[str, ExperimentConfig]:
    """The configuration of every system at the first seed."""
    plan, found = make_plan(read_study(STUDY))
    first = [run for run in plan.runs if run.seed == plan.seeds[0]]
    levels = {cell.name: cell.factors["system"] for cell in plan.cells}
    return {levels[run.cell]: found[run.fit] for run in first}


def test_all_systems_are_there_with_three_seeds_that_development_did_not_use(configs) -> None:
    assert list(configs) == SYSTEMS
    assert read_study(STUDY).seeds == [201, 202, 203]
    assert read_study(STUDY).report == "comparison"


def test_budgets_agree_to_half_a_percent(configs) -> None:
    drawn = {}
    for name, config in configs.items():
        recipe = config.recipe
        assert recipe.steps_per_epoch is not None
        drawn[name] = recipe.total_epochs * recipe.steps_per_epoch * recipe.batch_size
    assert drawn["idkl"] == 69_440
    assert {name for name, images in drawn.items() if images != 69_440} == {"idkl_released", "optimized_fork"}
    assert max(drawn.values()) - min(drawn.values()) <= 0.005 * max(drawn.values())


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


def test_systems_keep_batches_and_augmentation_of_their_own(configs) -> None:
    """Of METHODS: 12 × 10 is the batch of the released weights, 8 × (4 + 4) that of the baselines, 8 × 4 the fork's."""
    batches = {name: (c.recipe.identities, c.recipe.images_per_identity) for name, c in configs.items()}
    assert batches["idkl_released"] == (12, 10)
    assert batches["optimized_fork"] == (8, 4)
    assert {batches[name] for name in ("iv_reid", "agw", "tskd", "tvi_lfm")} == {(8, 8)}
    augmentation = {name: config.augmentation for name, config in configs.items()}
    assert augmentation["optimized_fork"].name == "fork"
    assert augmentation["agw"] == augmentation["iv_reid"]
    assert augmentation["agw"].erasing.probability == 0
    assert augmentation["tskd"].exchange == 1
    assert augmentation["tvi_lfm"].name == "tvi_lfm"
    assert [stage.name for stage in configs["tskd"].recipe.stages] == ["self-mimic", "mutual distillation"]
    assert configs["optimized_fork"].recipe.accumulation == 4
    assert configs["idkl_released"].model.weights["tgsa_intra"] == 1
