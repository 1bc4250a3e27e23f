"""The contract of ``vireid.core.types.Model``, over every registered model."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality, Model
from vireid.models import MODELS

CLASSES = 11
# Small settings for speed; a model that is not listed is tested at its defaults.
SMALL: dict[str, list[dict[str, Any]]] = {
    "idkl": [
        {"backbone": "resnet18", "width": 0.25},
        {"backbone": "resnet18", "width": 0.25, "ibn": "a", "mha": "guidance", "gem_learnable": True},
        {"backbone": "resnet50", "width": 0.125, "ibn": "b", "last_stride": 2, "label_smoothing": 0.1},
    ],
}
CASES = [(name, settings) for name in MODELS.names() for settings in SMALL.get(name, [{}])]
MakeBatch = Callable[..., Batch]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(str(v) for v in case[1].values())}")
def model(request: pytest.FixtureRequest) -> Any:
    name, settings = request.param
    component = MODELS.load(name)
    torch.manual_seed(0)
    return component(component.Config.model_validate({"name": name, **settings}), CLASSES)


def total(model: Any, batch: Batch) -> torch.Tensor:
    terms = model.loss_terms(model(batch), batch)
    return sum(weight * terms[name] for name, weight in model.default_weights().items())


def test_fulfils_the_protocol(model: Any) -> None:
    assert isinstance(model, Model)
    assert isinstance(model, torch.nn.Module)
    assert isinstance(model.version, str)


def test_loss_terms_are_the_named_finite_scalars(model: Any, make_batch: MakeBatch) -> None:
    batch = make_batch()
    terms = model.train().loss_terms(model(batch), batch)
    assert terms.keys() == model.default_weights().keys()
    for name, value in terms.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
        assert value.dtype == torch.float32, name


def test_every_trainable_parameter_gets_a_finite_gradient_unless_dead(model: Any, make_batch: MakeBatch) -> None:
    roles = model.parameter_roles()
    assert roles.keys() == dict(model.named_parameters()).keys()
    total(model.train(), make_batch()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (parameter.grad is None) == (roles[name] == "dead"), name
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_groups_cover_every_trainable_parameter_once(model: Any) -> None:
    groups = model.parameter_groups()
    assert all({"params", "lr_scale", "name"} <= group.keys() for group in groups)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("modality", list(Modality))
def test_deployable_equals_embed(model: Any, make_batch: MakeBatch, modality: Modality) -> None:
    batch = make_batch()
    model.train()(batch)  # moves running statistics away from their start
    model.end_epoch()
    model.eval()
    rows = batch.modality == int(modality)
    deployed = model.deployable(modality)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model.embed(batch)["embedding"]
        measured = deployed(batch.images)
        alone = deployed(batch.images[rows])
    assert not deployed.training
    assert torch.allclose(measured[rows], expected[rows], rtol=0, atol=1e-6)
    assert torch.allclose(alone, expected[rows], rtol=0, atol=1e-4)  # another batch size rounds otherwise
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_deployed_parameters_are_those_with_that_role(model: Any) -> None:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    deployed = sum(size for name, size in sizes.items() if model.parameter_roles()[name] == "deployed")
    assert deployed == sum(p.numel() for p in model.deployable(Modality.INFRARED).parameters())


def test_checkpoint_holds_all_state(model: Any, make_batch: MakeBatch) -> None:
    batch = make_batch()
    model.train()(batch)
    model.end_epoch()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = type(model)(model.config, CLASSES)
    twin.load_state_dict(torch.load(file, weights_only=True))
    model.eval()
    twin.eval()
    with torch.no_grad():
        assert torch.equal(model.embed(batch)["embedding"], twin.embed(batch)["embedding"])
        first, second = total(model, batch), total(twin, batch)
    assert torch.equal(first, second)


def test_works_in_bfloat16_autocast_and_channels_last(model: Any, make_batch: MakeBatch) -> None:
    batch = make_batch()
    model.train().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
        terms = model.loss_terms(output, batch)
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in terms.values())
    for name, value in output.maps.items():
        assert value.is_contiguous(memory_format=torch.channels_last), name


def test_equal_seeds_build_equal_models(model: Any) -> None:
    torch.manual_seed(0)
    twin = type(model)(model.config, CLASSES)
    for (name, a), (_, b) in zip(model.state_dict().items(), twin.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_unknown_key_is_rejected() -> None:
    from vireid.core.config import parse

    for name in MODELS.names():
        with pytest.raises(UserError, match="unknown key 'heigth_'"):
            parse(MODELS.load(name).Config, {"name": name, "heigth_": 1}, "test")
