"""What the committed tuning study promises: six settings for every system, the same images, begun with a trunk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study

STUDY = Path(__file__).parents[2] / "ablations" / "tuning.yaml"
SYSTEMS = {"idkl", "idkl_released", "optimized", "optimized_fork", "iv_reid", "agw", "tskd", "tvi_lfm", "caj", "deen"}


def test_every_system_has_six_settings_of_the_same_number_of_images() -> None:
    plan, configs = make_plan(read_study(STUDY))
    factors = {cell.name: cell.factors for cell in plan.cells}
    assert Counter(levels["system"] for levels in factors.values()) == dict.fromkeys(SYSTEMS, 6)
    for run in plan.runs:
        config, levels = configs[run.fit], factors[run.cell]
        recipe = config.recipe
        assert recipe.steps_per_epoch is not None
        assert recipe.total_epochs * recipe.steps_per_epoch * recipe.batch_size == 76_800, run.cell
        assert config.model.pretrained is not None
        assert sum(levels[factor] != "own" for factor in ("rate", "batch", "weight")) <= 1


def test_each_is_tuned_by_rate_batch_and_its_main_weight() -> None:
    plan, _ = make_plan(read_study(STUDY))
    for system in SYSTEMS:
        mine = [cell.factors for cell in plan.cells if cell.factors["system"] == system]
        assert {levels["rate"] for levels in mine} == {"own", "half", "double"}
        assert len({levels["batch"] for levels in mine}) == 2
        weights = {levels["weight"] for levels in mine} - {"own"}
        assert all(weight.startswith(f"{system} ") for weight in weights)
        assert len(weights) == 2
