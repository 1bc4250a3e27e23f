from __future__ import annotations

import pytest

from tests.training.parts import recipe
from vireid.core.config import canonical_json, parse
from vireid.core.errors import UserError
from vireid.training.config import RecipeConfig


def test_epochs_is_short_for_one_stage():
    short = recipe(epochs=7)
    assert short == recipe(stages=[{"name": "main", "epochs": 7}])
    assert short.total_epochs == 7
    assert short.images_per_identity == 2
    assert parse(RecipeConfig, short.model_dump(mode="json"), "again") == short
    assert '"epochs":7' in canonical_json(short)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10, "identities": 4}, r"K = 2\.5 .*batch_size 8 or 16 with 4 identities, or 1 or 5 identities"),
        ({"batch_size": 12, "identities": 4}, r"K = 3 .*batch_size 8 or 16 with 4 .*3 or 6 identities with batch_size"),
        ({"batch_size": 4, "identities": 8}, r"K = 0\.5 .*batch_size 16 with 8 identities, or 2 identities"),
        ({"bacth_size": 8}, "unknown key 'bacth_size'; did you mean 'batch_size'"),
        ({"optimiser": {"name": "adma", "lr": 1}}, "adma"),
        ({"optimiser": {"name": "adam", "lr": 0}}, r"optimiser\.adam\.lr = 0: .*greater than 0"),
        ({"optimiser": {"name": "sgd", "lr": 1, "momentum": 0, "nesterov": True}}, "nesterov needs a momentum"),
        ({"schedule": {"name": "step", "milestones": [2, 9]}}, "has 9, which the 4 epochs never reach"),
        ({"schedule": {"name": "step", "milestones": [3, 2]}}, "ascending"),
        ({"schedule": {"name": "cosine", "min_lr": 1.0}}, "min_lr 1 exceeds optimiser.lr 0.01"),
        ({"schedule": {"name": "constant", "warmup_epochs": 5}}, "warmup_epochs 5 exceeds the 4 epochs"),
        ({"precision": "fp61"}, "did you mean 'fp16'"),
        ({"stages": [{"name": "a", "epochs": 1}, {"name": "a", "epochs": 1}]}, "same name"),
        ({"stages": [{"name": "a", "epochs": 1}], "epochs": 3}, "not both"),
    ],
)
def test_bad_recipes_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        recipe(**changes)


def test_stages_replace_a_recipe_s_epochs_once_those_are_null():
    stages = [{"name": "a", "epochs": 2}, {"name": "b", "epochs": 3}]
    assert recipe(stages=stages, epochs=None) == recipe(stages=stages)
    assert recipe(stages=None, epochs=4) == recipe(epochs=4)


def test_stage_at():
    two = recipe(stages=[{"name": "a", "epochs": 2}, {"name": "b", "epochs": 3}])
    assert [two.stage_at(epoch) for epoch in range(5)] == [0, 0, 1, 1, 1]
    with pytest.raises(IndexError):
        two.stage_at(5)
