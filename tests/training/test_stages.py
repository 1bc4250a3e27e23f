from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.errors import UserError
from vireid.training.config import StageConfig
from vireid.training.loop import fit
from vireid.training.stages import Stages


def test_frozen_part_is_bitwise_unchanged_running_statistics_too(tmp_path):
    stages = [
        {"name": "all", "epochs": 2},
        {"name": "head", "epochs": 2, "trainable": ["head.*", "neck.*"], "terms": ["id"]},
    ]
    model = TinyModel()
    states, flags = [], []

    def on_epoch(entry):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        flags.append((model.trunk.training, model.neck.training, entry["stage"], sorted(entry["terms"])))

    config = recipe(stages=stages, optimiser={"name": "adam", "lr": 0.01, "weight_decay": 0.1})
    result = fit(
        model, TinyLoader(), config, uncertainty(), seed=0, directory=tmp_path, resume_key="k", on_epoch=on_epoch
    )
    assert flags[1] == (True, True, "all", ["centre", "id"])
    assert flags[3] == (False, True, "head", ["id"])
    for name, before in states[1].items():
        same = torch.equal(before, states[3][name])
        fixed = name.startswith("trunk.") or name == "neck.bias"
        assert same == fixed, name
    assert set(result.curves[-1]["weights"]) == {"id"}
    # afterwards the model has its own gradient flags back
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"neck.bias"}


def test_dropout_of_a_frozen_part_is_off():
    model = TinyModel()
    stages = Stages([StageConfig(name="s", epochs=1, trainable=["head.*"])], model, ["id"])
    stages.enter(0)
    assert not model.trunk[3].training
    assert model.training
    assert model.head.training


def test_normalisation_without_parameters_goes_by_its_buffers():
    model = nn.Sequential()
    model.add_module("a", nn.BatchNorm1d(3, affine=False))
    model.add_module("b", nn.Linear(3, 3))
    stages = Stages([StageConfig(name="s", epochs=1, trainable=["b.*"])], model, ["id"])
    stages.enter(0)
    assert (model.a.training, model.b.training) == (False, True)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"trainable": ["haed.*"]}, r"recipe\.stages\.0 \('s'\): trainable 'haed\.\*' fits no parameter.*mean 'head'"),
        ({"terms": ["centr"]}, "unknown loss term 'centr'; did you mean 'centre'"),
    ],
)
def test_bad_stages_are_named(tmp_path, stage, message):
    config = recipe(stages=[{"name": "s", "epochs": 1, **stage}])
    with pytest.raises(UserError, match=message):
        fit(TinyModel(), TinyLoader(), config, uncertainty(), seed=0, directory=tmp_path, resume_key="k")
