"""Fits that build on others: their order, and what is checked before a plan begins."""

from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.ablation.order import check_earlier_fits, in_waves
from vireid.ablation.plan import make_plan
from vireid.ablation.study import read_study
from vireid.core.errors import UserError
from vireid.experiment.identity import fit_id
from vireid.store import Store

ROOT = Path(__file__).parents[2]


def test_a_planned_start_comes_before_what_begins_with_it(tmp_path):
    first = tiny()
    second = tiny(f"start_from='{fit_id(first)}'", "data.height=48", "data.width=24")
    third = tiny(f"start_from='{fit_id(second)}'", "augmentation=full")
    configs = {fit_id(config): config for config in (third, second, first)}
    assert in_waves(configs) == [[fit_id(first)], [fit_id(second)], [fit_id(third)]]
    check_earlier_fits(configs, Store(tmp_path))
    del configs[fit_id(first)]
    with pytest.raises(UserError, match=f"start_from={fit_id(first)} is not in"):
        check_earlier_fits(configs, Store(tmp_path))


def test_the_full_size_study_plans_every_fit_that_another_builds_on(tmp_path):
    """Its file names fits by id: a changed default would change the ids."""
    _, configs = make_plan(read_study(ROOT / "ablations" / "full_size.yaml"))
    check_earlier_fits(configs, Store(tmp_path))
    assert len(in_waves(configs)) == 6
