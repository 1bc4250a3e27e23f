"""Curriculum and gradient normalisation from configuration to record."""

import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.data import training_loader
from vireid.experiment.fit import fit_step
from vireid.experiment.identity import RunIds, component_stamps
from vireid.experiment.reload import config_of_fit
from vireid.experiment.sources import stale_parts
from vireid.overrides import choices, compose, group_names
from vireid.store import Store

RAMP = ("curriculum=ramp", "curriculum.end=1.0", "recipe.epochs=3", "recipe.stages=null")


def test_without_a_curriculum_nothing_of_it_enters_the_identity():
    plain = tiny()
    assert "curriculum" not in RunIds(plain).fit_specification()
    assert "curriculum" not in component_stamps(plain)
    assert RunIds(tiny("curriculum=off")).fit == RunIds(plain).fit
    ramped = tiny("curriculum=ramp")
    assert RunIds(ramped).fit != RunIds(plain).fit
    assert RunIds(tiny("curriculum=ramp", "curriculum.end=0.5")).fit == RunIds(ramped).fit
    assert RunIds(tiny("curriculum=ramp", "curriculum.end=0.6")).fit != RunIds(ramped).fit
    assert RunIds(ramped).fit_specification()["curriculum"]["version"] == "1"
    assert component_stamps(ramped)["curriculum"].name == "ramp"


def test_the_loader_ramps_the_augmentation(rendered, tmp_path):
    store = Store(tmp_path)
    config = tiny(f"data.root={rendered}", *RAMP)
    loader = training_loader(RunContext(config, store))
    assert [loader.strength(epoch) for epoch in range(3)] == pytest.approx([0, 1 / 3, 2 / 3])
    calm = tiny(f"data.root={rendered}", *RAMP, "curriculum.augmentation=false")
    assert training_loader(RunContext(calm, store)).strength(0) == 1.0


@pytest.mark.parametrize("weighting", choices("weighting"))
def test_a_ramped_fit_records_effective_weights_and_can_be_reloaded(rendered, tmp_path, weighting):
    store = Store(tmp_path)
    config = tiny(f"data.root={rendered}", f"weighting={weighting}", "augmentation=fork", *RAMP)
    record = fit_step(RunContext(config, store))
    weights = [entry["weights"] for entry in record.curves]
    assert weights[0]["csa1_intra"] == weights[0]["tgsa_inter"] == 0
    assert 0 < weights[1]["csa1_intra"] < weights[2]["csa1_intra"]
    assert all(entry["id_shared"] > 0 for entry in weights)
    if weighting == "fixed":
        assert weights[2]["csa1_inter"] == pytest.approx(2 * weights[1]["csa1_inter"])
    if weighting == "gradnorm":
        assert weights[0]["id_shared"] != weights[2]["id_shared"]
    assert not stale_parts([record])
    assert RunIds(config_of_fit(record, [], rendered, store)).fit == record.id


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["curriculum=rampe"], "curriculum=rampe: unknown choice; did you mean 'ramp'"),
        (["curriculum=ramp", "curriculum.ends=1"], "curriculum.ends: unknown key 'ends'; did you mean 'end'"),
        (["curriculum=ramp", "curriculum.terms=[foo]"], "test: curriculum.terms: none of foo fits an active loss term"),
        (["curriculum.terms=[foo]"], "curriculum.terms: unknown key 'terms'"),
        (
            ["weighting=gradnorm", "weighting.adapt=[csa1]"],
            "test: weighting.adapt: 'csa1' fits no loss term; did you mean",
        ),
        (["weighting=gradnrom"], "weighting=gradnrom: unknown choice; did you mean 'gradnorm'"),
        (["augmentation=forked"], "augmentation=forked: unknown choice; did you mean 'fork'"),
        (
            ["weighting=gradnorm", "model=custom", "model.name=tests.experiment.test_curriculum:Unshared"],
            r"weighting 'gradnorm' needs a model with the method shared_parameters\(\), which 'tests.*' lacks",
        ),
    ],
)
def test_impossible_choices_are_refused_before_anything_runs(overrides, message):
    with pytest.raises(UserError, match=message):
        compose(overrides, "test")


def test_every_level_of_the_toggles_is_a_choice():
    assert {"curriculum", "weighting", "augmentation"} <= set(group_names())
    assert set(choices("curriculum")) == {"off", "ramp"}
    assert set(choices("weighting")) >= {"fixed", "uncertainty", "dwa", "gradnorm"}
    assert set(choices("augmentation")) >= {"none", "base", "full", "fork"}
    for group in ("curriculum", "weighting", "augmentation"):
        for choice in choices(group):
            name = getattr(compose([f"{group}={choice}"]), group).name
            assert name in choices(group)  # a file may be a setting of another one's component


class Unshared:
    """A model that names no shared parameters."""

    from vireid.core.config import Component as Config

    version = "1"
