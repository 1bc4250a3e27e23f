"""Importers of AGW's and IV-REID's public checkpoints: strict, and equal in value to the public code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.public_state import GOLDEN, batch_arrays, filled, uniform
from vireid.core.errors import UserError
from vireid.core.types import Batch
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported, convert_state, import_state
from vireid.models.iv_reid import IVREID
from vireid.models.iv_reid_config import IVREIDConfig

ARCHS = ("agw", "iv_reid")
DEPLOYED = {"agw": 23_550_351, "iv_reid": 23_538_688}
# The auxiliary head of the public code, which its checkpoints leave out: our names -> its names.
HEAD = {
    f"heads.{ours}.{position}": f"ide.{theirs}_{layer}"
    for ours, theirs in {"visible": "rgb", "infrared": "ir"}.items()
    for position, layer in enumerate(("bn", "fc1", "fc2"))
}


def golden(arch: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"parity_{arch}.json").read_text())
    return content


@cache
def state(arch: str) -> dict[str, Tensor]:
    """The state dict with which the golden values were made; what never runs is constant and takes no memory."""
    layout = IMPORTERS.load(arch)().layout(20)
    live = filled({key: entry.shape for key, entry in layout.items() if entry.target})
    for key in live:  # affinities are products of three maps: kept small where no batch statistics do
        if key.startswith("NL_") and ".W." not in key:
            live[key] = 0.1 * live[key]
    dead = {key: entry.shape for key, entry in layout.items() if not entry.target}
    return live | {
        key: torch.tensor(0) if key.endswith("tracked") else torch.tensor(1e-3).expand(shape)
        for key, shape in dead.items()
    }


def imported(arch: str) -> Imported:
    return convert_state(state(arch), arch, "checkpoint")


def batch_of(arch: str, case: str) -> tuple[dict[str, Any], Batch]:
    expected = golden(arch)["cases"][case]
    size = (expected[name] for name in ("identities", "images", "height", "width"))
    arrays = batch_arrays(*size, alternating=True)
    none = torch.zeros_like(arrays["labels"])
    return expected, Batch(arrays["images"], arrays["labels"], arrays["infrared"].long(), none, none)


@pytest.mark.parametrize("arch", ARCHS)
def test_layout_is_the_public_state_dict(arch: str) -> None:
    layout, expected = IMPORTERS.load(arch)().layout(20), golden(arch)["state"]
    lines = [f"{key} {entry.shape}" for key, entry in sorted(layout.items())]
    assert len(lines) == expected["keys"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == expected["digest"]


@pytest.mark.parametrize("arch", ARCHS)
def test_counts_and_what_is_left_out(arch: str) -> None:
    found = imported(arch)
    assert found.num_classes == 20
    assert found.parameters["deployed"] == DEPLOYED[arch]
    assert found.parameters["training_only"] == 20 * 2048 + (20 if arch == "iv_reid" else 0)
    layers = [f"{side}.layer{n}" for side in ("visible_module.visible", "thermal_module.thermal") for n in (1, 2, 3, 4)]
    dead = {*layers, "base_resnet.base.conv1", "base_resnet.base.bn1"}
    assert found.dead.keys() == (dead if arch == "agw" else set())


@pytest.mark.parametrize("arch", ARCHS)
def test_misfits_are_named(arch: str) -> None:
    with pytest.raises(UserError, match=r"1 missing \(bottleneck.weight\)"):
        convert_state({k: v for k, v in state(arch).items() if k != "bottleneck.weight"}, arch, "checkpoint")
    with pytest.raises(UserError, match=r"1 unknown \(extra\)"):
        convert_state(state(arch) | {"extra": torch.zeros(1)}, arch, "checkpoint")
    other = next(a for a in ARCHS if a != arch)
    with pytest.raises(UserError, match=f"does not fit --arch {other}: .*looks like --arch {arch}"):
        convert_state(state(arch), other, "checkpoint")


def test_whole_pickled_models_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "all_best.pth")
    with pytest.raises(UserError, match="other Python objects, which are never loaded"):
        import_state(tmp_path / "all_best.pth", "iv_reid")


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_features_equal_the_public_code(arch: str, case: str) -> None:
    _, batch = batch_of(arch, case)
    expected = torch.from_numpy(np.load(GOLDEN / f"parity_{arch}.npz")[f"embedding_{case}"])
    with torch.no_grad():
        measured = imported(arch).model.embed(batch)["embedding"][: len(expected)]
    assert float((measured - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.check
@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_terms_and_gradients_equal_the_public_code(arch: str, case: str) -> None:
    model = imported(arch).model
    if arch == "iv_reid":
        model = with_head(model)
    model.train().double()  # in float32, units at a kink flip
    expected, batch = batch_of(arch, case)
    terms = model.loss_terms(model(replace(batch, images=batch.images.double())), batch)
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(expected["terms"], rel=1e-5)
    torch.stack(list(terms.values())).sum().backward()
    parameters, layout = dict(model.named_parameters()), IMPORTERS.load(arch)().layout(20)
    values = np.load(GOLDEN / f"parity_{arch}.npz")[f"gradients_{case}"]
    for name, (norm, projection) in zip(golden(arch)["gradients"], values, strict=True):
        gradient = parameters[layout[name].target].grad
        rounding = 1e-9  # a bias before a batch norm has gradient 0
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-3, abs=rounding), name
        direction = uniform(f"projection {name}", tuple(gradient.shape)).double()
        assert abs(float((gradient * direction).sum()) - projection) < 1e-3 * norm + rounding, name


def with_head(model: IVREID) -> IVREID:
    """The same network with the auxiliary head that the golden values were made with."""
    full = IVREID(IVREIDConfig(), 20)
    own = full.state_dict()
    theirs = {key: f"{HEAD[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in own if is_head(key)}
    values = filled({theirs[key]: tuple(own[key].shape) for key in theirs})
    full.load_state_dict(model.state_dict() | {key: values[name] for key, name in theirs.items()})
    return full


def is_head(key: str) -> bool:
    return key.startswith(("heads.visible.", "heads.infrared."))
