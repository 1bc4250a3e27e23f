"""Importers of CAJ's and DEEN's public checkpoints: equal in value to the public code, in every wrapper."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.public_state import GOLDEN, drawn, shapes
from vireid.core.errors import UserError
from vireid.core.types import Batch, Modality
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported, convert_state, import_state
from vireid.models.pretrained import read_state

ARCHS = ("caj", "deen")
ROWS = {"caj": 4, "deen": 12}
# Published: 41.23 M of DEEN.
DEPLOYED = {"caj": 23_550_351, "deen": 41_228_832}
PARTS = {"cpm": ("cpm_1", "cpm_2")}


def golden(arch: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"model_{arch}.json").read_text())
    return content


@cache
def state(arch: str) -> dict[str, Tensor]:
    """The state dict with which the golden values were made; what never runs is constant and takes no memory."""
    layout = IMPORTERS.load(arch)().layout(20)
    return {
        key: drawn(key, shape) if layout[key].target or key.endswith("tracked") else torch.tensor(1e-3).expand(shape)
        for key, shape in shapes(arch).items()
    }


def imported(arch: str) -> Imported:
    return convert_state(state(arch), arch, "checkpoint")


@pytest.mark.parametrize("arch", ARCHS)
def test_layout_is_the_public_state_dict(arch: str) -> None:
    layout = IMPORTERS.load(arch)().layout(20)
    assert {key: entry.shape for key, entry in layout.items()} == shapes(arch)


@pytest.mark.parametrize("arch", ARCHS)
def test_counts_and_what_is_left_out(arch: str) -> None:
    found = imported(arch)
    assert found.num_classes == 20
    assert found.parameters["deployed"] == DEPLOYED[arch]
    assert found.parameters["training_only"] == 20 * 2048
    layers = [f"{side}.layer{n}" for side in ("visible_module.visible", "thermal_module.thermal") for n in (1, 2, 3, 4)]
    assert found.dead.keys() == {*layers, "base_resnet.base.conv1", "base_resnet.base.bn1"}


def released_features(arch: str, model: Any, modality: Modality) -> dict[str, Tensor]:
    """As the public network gives them: unit features before and after the neck."""
    images = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 3, 96, 48))).float()
    infrared = torch.full((4,), modality is Modality.INFRARED)
    with torch.no_grad():
        if arch == "caj":
            pooled, necked = model.embedder(images, infrared)
        else:
            features = model.embedder(images, infrared)
            both = features, model.embedder.shared.necked(features)
            pooled, necked = (torch.cat(list(x)) for x in both)
    return {name: nn.functional.normalize(x) for name, x in (("pool", pooled), ("bn", necked))}


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("arch", ARCHS)
def test_features_equal_the_public_code(arch: str, modality: Modality) -> None:
    expected = np.load(GOLDEN / f"model_{arch}.npz")
    model = imported(arch).model
    for name, measured in released_features(arch, model, modality).items():
        reference = torch.from_numpy(expected[f"{modality.name.lower()}_{name}"])
        assert measured.shape == reference.shape == (ROWS[arch], 2048)
        assert float((measured - reference).abs().max()) < 1e-5 * float(reference.abs().max())


def test_the_embedding_of_deen_is_the_six_released_features_side_by_side() -> None:
    expected = np.load(GOLDEN / "model_deen.npz")
    images = torch.from_numpy(np.random.default_rng(7).standard_normal((4, 3, 96, 48))).float()
    with torch.no_grad():
        measured = imported("deen").model.deployable(Modality.VISIBLE)(images)
    parts = [torch.from_numpy(expected[f"visible_{name}"]).view(3, 4, 2048) for name in ("pool", "bn")]
    reference = torch.cat(parts).transpose(0, 1).flatten(1)
    assert measured.shape == (4, 12_288)
    assert float((measured - reference).abs().max()) < 1e-5 * float(reference.abs().max())


def batch_of(arch: str, expected: dict[str, Any]) -> Batch:
    """The batch that the golden terms are of, its rows in the order of the public code."""
    random, count = np.random.default_rng(expected["seed"]), expected["P"] * expected["K"]
    shape = (count, 3, expected["height"], expected["width"])
    visible, infrared = (random.standard_normal(shape) for _ in range(2))
    ids = random.permutation(20)[: expected["P"]].repeat(expected["K"])
    images = [visible, random.standard_normal(shape), infrared] if arch == "caj" else [visible, infrared]
    modality = torch.tensor([Modality.VISIBLE] * (len(images) - 1) + [Modality.INFRARED]).repeat_interleave(count)
    view = torch.tensor([0, 1, 0] if arch == "caj" else [0, 0]).repeat_interleave(count)
    labels = torch.from_numpy(ids).repeat(len(images))
    return Batch(torch.from_numpy(np.concatenate(images)), labels, modality, torch.zeros_like(labels), view)


@pytest.mark.parametrize("arch", ARCHS)
def test_terms_and_gradients_equal_the_public_code(arch: str) -> None:
    model, expected = imported(arch).model, golden(arch)
    batch = batch_of(arch, expected["batch"])
    model.train().double()
    if arch == "deen":
        model.embedder.shared.trunk.expansion.dropout.p = 0.0  # as the golden values were made
    terms = model.loss_terms(model(batch), batch)
    weights = model.default_weights()
    for name, value in terms.items():
        parts = PARTS.get(name, (name,))
        assert float(value.detach()) == pytest.approx(sum(expected["terms"][part] for part in parts), rel=1e-4), name
        assert {weights[name]} == {expected["weights"][part] for part in parts}
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    assert float(total.detach()) == pytest.approx(expected["total"], rel=1e-4)
    total.backward()
    parameters, layout = dict(model.named_parameters()), IMPORTERS.load(arch)().layout(20)
    for name, norm in expected["gradient_norms"].items():
        assert float(parameters[layout[name].target].grad.norm()) == pytest.approx(norm, rel=1e-3), name


def beside(weights: Any, key: str = "net") -> dict[str, Any]:
    """What the public scripts save: scores of NumPy and numbers around the weights."""
    scores = {"cmc": np.linspace(0, 1, 5), "mAP": np.float64(0.4), "mINP": np.float32(0.3), "epoch": 7}
    optimiser = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {key: weights, **scores, "optimizer": optimiser}


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in weights.items()}


def constant(arch: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A whole public state dict that takes no memory: one value per key."""
    return {
        key: torch.tensor(0) if key.endswith("tracked") else torch.tensor(0.1, dtype=dtype).expand(shape)
        for key, shape in shapes(arch).items()
    }


WRAPPERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": dict,
    "net": beside,
    "state_dict": lambda weights: beside(weights, "state_dict"),
    "model": lambda weights: beside(weights, "model"),
    "data parallel": lambda weights: beside(prefixed(weights)),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_read(tmp_path: Path, wrapper: str, dtype: torch.dtype, legacy: bool) -> None:
    file = tmp_path / "caj.t"
    torch.save(WRAPPERS[wrapper](constant("caj", dtype)), file, _use_new_zipfile_serialization=not legacy)
    read = read_state(file)
    assert {key: tuple(value.shape) for key, value in read.items()} == shapes("caj")
    assert read["classifier.weight"].dtype == dtype


@pytest.mark.parametrize("arch", ARCHS)
def test_a_checkpoint_as_the_public_script_saves_it_is_imported(tmp_path: Path, arch: str) -> None:
    file = tmp_path / f"{arch}_best.t"
    torch.save(beside(prefixed(constant(arch, torch.float16))), file, _use_new_zipfile_serialization=False)
    model = import_state(file, arch).model
    assert model.classifier.weight.dtype == torch.float32
    assert torch.equal(model.classifier.weight, torch.tensor(0.1).half().float().expand(20, 2048))


@pytest.mark.parametrize("arch", ARCHS)
def test_misfits_are_named(tmp_path: Path, arch: str) -> None:
    with pytest.raises(UserError, match=r"1 missing \(bottleneck.weight\)"):
        convert_state({k: v for k, v in constant(arch).items() if k != "bottleneck.weight"}, arch, "checkpoint")
    with pytest.raises(UserError, match=r"1 unknown \(extra\)"):
        convert_state(constant(arch) | {"extra": torch.zeros(1)}, arch, "checkpoint")
    torch.save({"net": constant(arch), "model": nn.Linear(2, 2)}, tmp_path / "x.t")
    with pytest.raises(UserError, match="which are never loaded"):
        import_state(tmp_path / "x.t", arch)


def test_the_architecture_that_fits_is_suggested() -> None:
    with pytest.raises(UserError, match=r"does not fit --arch caj: .*looks like --arch deen"):
        convert_state(constant("deen"), "caj", "checkpoint")


def test_the_network_for_regdb_is_another_layout(tmp_path: Path) -> None:
    """Its keys are those for SYSU-MM01 without MFA 3; expansion, neck and classifier are of the lower widths."""
    layout, whole = IMPORTERS.load("deen_regdb")().layout(20), shapes("deen")
    assert layout.keys() == {key for key in whole if not key.startswith("MFA3.")}
    assert layout["DEE.FC11.weight"].shape == (128, 512, 3, 3)
    assert layout["bottleneck.weight"].shape == (1024,)
    assert layout["base_resnet.base.layer4.0.conv1.weight"].target is None
    state = {
        key: torch.tensor(0) if key.endswith("tracked") else torch.tensor(0.1).expand(entry.shape)
        for key, entry in layout.items()
    }
    torch.save(beside(state), tmp_path / "regdb.t")
    found = import_state(tmp_path / "regdb.t", "deen_regdb")
    assert (found.model.config.layers, found.model.config.position_step) == (3, "released")
    assert "base_resnet.base.layer4" in found.dead
    with pytest.raises(UserError, match="looks like --arch deen_regdb"):
        import_state(tmp_path / "regdb.t", "deen")
