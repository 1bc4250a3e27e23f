"""What models say of themselves, and what is assumed of those that say nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

import vireid
from vireid.core.config import Component
from vireid.models import MODELS
from vireid.models.base import Declared, ModelConfig, ReIDModel, declared, has_method


class _OwnConfig(Component):
    name: str = "own"
    teacher: str = "not a teacher's configuration"


class _Config(ModelConfig):
    version: ClassVar[str] = "7"
    visible_views: ClassVar[int] = 2
    term_weights: ClassVar[dict[str, float]] = {"id": 1.0, "triplet": 0.5}
    name: str = "small"


class _Small(ReIDModel, nn.Module):
    Config: ClassVar[type[Any]] = _Config

    def __init__(self, config: _Config) -> None:
        super().__init__()
        self.config = config
        self.embedder = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        self.heads = nn.ModuleDict({"id": nn.Linear(2, 3)})


def test_a_configuration_that_declares_nothing_has_the_defaults() -> None:
    assert declared(_OwnConfig()) == Declared()
    without_trunk = {name for name in MODELS.names() if declared(MODELS.config(name)()).trunk is None}
    assert without_trunk == {"vit"}  # all others have a ResNet, which the fit of another model can begin with


def test_a_model_has_what_its_configuration_declares() -> None:
    model = _Small(_Config(weights={"triplet": 0}))
    assert (model.version, model.visible_views, model.identity_head) == ("7", 2, None)
    assert model.default_weights() == {"id": 1.0}
    assert has_method(model, "end_epoch")
    assert not has_method(model, "shared_parameters")


def test_parameters_go_to_the_group_of_the_longest_prefix() -> None:
    model = _Small(_Config())
    model.embedder[1].bias.requires_grad_(False)
    rest, norm = model.grouped(("rest", ("",), 1.0), ("norm", ("embedder.1.", "none."), 0.1))
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert [names[p] for p in rest["params"]] == [
        "embedder.0.weight",
        "embedder.0.bias",
        "heads.id.weight",
        "heads.id.bias",
    ]
    assert [names[p] for p in norm["params"]] == ["embedder.1.weight"]
    assert (norm["name"], norm["lr_scale"]) == ("norm", 0.1)
    assert {n for n, role in model.parameter_roles().items() if role == "training_only"} == {
        "heads.id.weight",
        "heads.id.bias",
    }


def test_no_model_is_probed_elsewhere() -> None:
    package = Path(vireid.__file__).parent
    probed = []
    for file in sorted(set(package.rglob("*.py")) - {package / "models" / "base.py"}):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        probes = [call for call in calls if ast.unparse(call.func) in ("getattr", "hasattr")]
        probed += [f"{file}:{call.lineno}" for call in probes if re.search(r"\bmodel\b", ast.unparse(call.args[0]))]
    assert probed == []
