"""Training from the weights of a finished fit."""

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.fit import fit_step
from vireid.experiment.identity import RunIds
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.store import Store


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return fit_step(RunContext(tiny(), store)), store


def test_begins_with_those_weights_at_another_resolution(first):
    fit, store = first
    still = ("recipe.epochs=null", "recipe.stages=[{name: one, epochs: 1, trainable: [heads.*]}]")
    config = tiny(f"start_from='{fit.id}'", "data.height=48", "data.width=24", *still)
    record = fit_step(RunContext(config, store))
    assert record.id != fit.id
    assert record.config["start_from"] == fit.id
    assert "start_from" not in fit.config
    before, after = (load_file(weights_file(store, run)) for run in (fit.id, record.id))
    convolutions = [name for name in before if name.endswith("conv1.weight")]
    assert convolutions
    assert all(torch.equal(before[name], after[name]) for name in convolutions)
    assert RunIds(config_of_fit(record, [], None, store)).fit == record.id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["start_from='000000000000'"], "no finished fit"),
        (["start_from='{}'", "data.split=test"], r"other data \(data\.split\)"),
        (["start_from='{}'", "seed=1"], r"data\.synthetic"),
        (["start_from='{}'", "model.width=0.25"], "of another model"),
    ],
)
def test_an_unfit_start_is_refused(first, changes, message):
    fit, store = first
    with pytest.raises(UserError, match=message):
        fit_step(RunContext(tiny(*(change.replace("{}", fit.id) for change in changes)), store))


def test_an_id_of_digits_is_text_with_and_without_quotes():
    for given in ("123456789012", "'123456789012'", '"123456789012"'):
        assert tiny(f"start_from={given}").start_from == "123456789012"
    with pytest.raises(UserError, match="quote it"):
        tiny("model=compact_small", "model.teacher={run: 123456789012}")


@pytest.fixture(scope="module")
def compact(first):
    _, store = first
    return fit_step(RunContext(tiny("model=compact_small", "model.width=0.125"), store))


def test_another_method_begins_with_what_both_have(first, compact):
    _, store = first
    still = ("recipe.epochs=null", "recipe.stages=[{name: one, epochs: 1, trainable: [heads.purifier.*]}]")
    record = fit_step(RunContext(tiny(f"start_from='{compact.id}'", *still), store))
    before, after = (load_file(weights_file(store, run)) for run in (compact.id, record.id))
    same = {
        "embedder.backbone.stem.": ["embedder.stem."],
        "embedder.backbone.branch.": ["embedder.branch.", "specific.branch."],
        "embedder.neck.": ["embedder.neck.", "necks.specific."],
        "heads.id.": ["heads.shared.", "heads.specific."],
    }
    for source, places in same.items():
        names = [name for name in before if name.startswith(source)]
        assert names
        assert all(torch.equal(after[name.replace(source, place)], before[name]) for place in places for name in names)


def test_a_student_begins_with_a_fit_that_had_no_teacher(first, compact):
    """Its map to the teacher's features is training-only and new; all else is there."""
    fit, store = first
    taught = (f"model.teacher={{run: '{fit.id}'}}", "model.teacher_features=64")
    still = ("recipe.epochs=null", "recipe.stages=[{name: one, epochs: 1, trainable: [projection.*]}]")
    record = fit_step(
        RunContext(
            tiny("model=compact_small", "model.width=0.125", f"start_from='{compact.id}'", *taught, *still), store
        )
    )
    before, after = (load_file(weights_file(store, run)) for run in (compact.id, record.id))
    learned = [name for name in before if "running_" not in name and "num_batches" not in name]
    assert set(after) > set(before)
    assert all(torch.equal(after[name], before[name]) for name in learned)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.width=0.25"], "or of another method on the same ResNet"),
        (["model.ibn=a"], "of another model"),
        (["model=agw_small"], "model 'compact' has no ResNet that 'agw' could begin with"),
        (["model=compact_mobilenet_small"], "of another model"),
    ],
)
def test_a_start_without_a_resnet_in_common_is_refused(first, compact, changes, message):
    _, store = first
    with pytest.raises(UserError, match=message):
        fit_step(RunContext(tiny(f"start_from='{compact.id}'", *changes), store))


def test_a_backbone_that_is_no_resnet_begins_no_other_method(first):
    fit, store = first
    with pytest.raises(UserError, match="no ResNet of the suite's"):
        fit_step(RunContext(tiny(f"start_from='{fit.id}'", "model=compact_mobilenet_small"), store))
