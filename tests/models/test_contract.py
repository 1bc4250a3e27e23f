"""The contract of ``vireid.core.types.Model``, over every registered model."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vireid.core.errors import UserError
from vireid.core.types import Batch, LearnsFromEpoch, Modality, Model
from vireid.models import MODELS
from vireid.profiling.complexity import parameter_counts

CLASSES = 11
VIT = {"dim": 48, "depth": 2, "heads": 3, "image_size": (64, 32)}
# Small settings for speed; a model that is not listed is tested at its defaults.
SMALL: dict[str, list[dict[str, Any]]] = {
    "idkl": [
        {"backbone": "resnet18", "width": 0.25},
        {"backbone": "resnet18", "width": 0.25, "ibn": "a", "mha": "guidance", "gem_learnable": True},
        {"backbone": "resnet50", "width": 0.125, "ibn": "b", "last_stride": 2, "label_smoothing": 0.1},
        {"backbone": "resnet18", "width": 0.25, "ibn": "fork", "mha": "fork", "pseudo_labels": "visible"},
        {"backbone": "resnet50", "width": 0.125, "mha": "refine", "heads": 4, "tgsa_cross": False},
    ],
    "iv_reid": [
        {"backbone": "resnet18", "width": 0.25},
        {"backbone": "resnet50", "width": 0.125, "kl": "mean", "conv_bias": False},
    ],
    "agw": [
        {"backbone": "resnet18", "width": 0.25, "nonlocal_blocks": (0, 2, 2, 0)},
        {"backbone": "resnet50", "width": 0.125, "nonlocal_width": None, "triplet": "released"},
    ],
    "tskd": [
        {"backbone": "resnet18", "width": 0.25, "nonlocal_blocks": (0, 2, 2, 0)},
        {"backbone": "resnet50", "width": 0.125, "mutual_views": "mean", "prototype_mode": "eval"},
    ],
    "caj": [
        {"backbone": "resnet18", "width": 0.25, "nonlocal_blocks": (0, 2, 2, 0)},
        {"backbone": "resnet50", "width": 0.125, "triplet": "released", "weights": {"agreement": 1.0}},
    ],
    "deen": [
        {"backbone": "resnet18", "width": 0.25},
        {"backbone": "resnet50", "width": 0.125, "position_step": "released", "layers": 3},
    ],
    "vit": [
        {**VIT, "dropout": 0.1, "drop_path": 0.2},
        {**VIT, "image_size": (96, 48), "stride": 16, "weights": {"msel": 0.5, "dcl": 0.5}},
    ],
    "compact": [
        {"backbone": "resnet18", "width": 0.25, "label_smoothing": 0.1},
        {"backbone": "resnet50", "width": 0.125, "last_stride": 2, "pool": "average"},
        {"backbone": "mobilenet_v3_small", "width": 0.5, "pool": "average"},
        {"backbone": "mobilenet_v3_large", "width": 0.25},
    ],
    "tvi_lfm": [
        {"backbone": "resnet50", "width": 0.125, "fusion": "none", "joint": False, "retrieval": "fused"},
        {"backbone": "resnet18", "width": 0.25, "text_width": 32, "text_layers": 1, "text_heads": 2},
        {"backbone": "resnet18", "width": 0.25, "fusion": "add", "joint": False, "text_library": "transformers"}
        | {"text_width": 32, "text_layers": 1, "text_heads": 2},
    ],
}
CASES = [(name, settings) for name in MODELS.names() for settings in SMALL.get(name, [{}])]
MakeBatch = Callable[..., Batch]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(str(v) for v in case[1].values())}")
def model(request: pytest.FixtureRequest) -> Any:
    name, settings = request.param
    component = MODELS.load(name)
    config = component.Config.model_validate({"name": name, **settings})
    if name == "vit":
        pytest.importorskip("timm", reason="a vision transformer needs the extra: make install EXTRAS=backbones")
    if getattr(config, "uses_text", False):
        pytest.importorskip(
            "open_clip", reason="text needs open_clip and transformers, which belong to every installation"
        )
        pytest.importorskip(
            "transformers", reason="text needs open_clip and transformers, which belong to every installation"
        )
    torch.manual_seed(0)
    return component(config, CLASSES)


@pytest.fixture
def make_batch(model: Any, make_batch: MakeBatch) -> MakeBatch:
    """Batches with as many views as the model asks for, and captions."""

    def make(**settings: Any) -> Batch:
        batch = make_batch(views=getattr(model, "visible_views", 1), **settings)
        return replace(batch, captions=[f"person {label} in red" for label in batch.labels.tolist()])

    return make


def end_epoch(model: Any, batch: Batch) -> None:
    if isinstance(model, LearnsFromEpoch):
        with torch.no_grad():
            model.after_epoch([batch])
    model.end_epoch()


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
    end_epoch(model, batch)
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
    paths = [model.deployable(modality) for modality in Modality]
    held = [sum(p.numel() for p in path.parameters()) for path in paths]
    assert max(held) <= deployed <= sum(held)  # modalities may have parts of their own
    assert parameter_counts(model, paths, model.parameter_roles())["deployed"] == deployed


def test_checkpoint_holds_all_state(model: Any, make_batch: MakeBatch) -> None:
    batch = make_batch()
    model.train()(batch)
    end_epoch(model, batch)
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
