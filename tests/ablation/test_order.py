"""Fits that build on others: their order, and what is checked before a plan begins."""

from pathlib import Path

import pytest

from tests.tiny import tiny
from vireid.ablation.plan import check_earlier_fits, in_waves, make_plan
from vireid.ablation.study import read_study
from vireid.core.errors import UserError
from vireid.experiment.identity import RunIds
from vireid.store import Store

ROOT = Path(__file__).parents[2]


def test_a_planned_start_comes_before_what_begins_with_it(tmp_path):
    first = tiny()
    second = tiny(f"start_from='{RunIds(first).fit}'", "data.height=48", "data.width=24")
    third = tiny(f"start_from='{RunIds(second).fit}'", "augmentation=full")
    configs = {RunIds(config).fit: config for config in (third, second, first)}
    assert in_waves(configs) == [[RunIds(first).fit], [RunIds(second).fit], [RunIds(third).fit]]
    check_earlier_fits(configs, Store(tmp_path))
    del configs[RunIds(first).fit]
    with pytest.raises(UserError, match=f"start_from={RunIds(first).fit} is not in"):
        check_earlier_fits(configs, Store(tmp_path))


def test_the_full_size_study_plans_every_fit_that_another_builds_on(tmp_path):
    """Its file names fits by id: a changed default would change the ids."""
    _, configs = make_plan(read_study(ROOT / "ablations" / "full_size.yaml"))
    check_earlier_fits(configs, Store(tmp_path))
    assert len(in_waves(configs)) == 6
