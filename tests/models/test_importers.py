"""Importers of public checkpoints: strict on names and shapes, and equal in value to the public code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.public_state import GOLDEN, batch_arrays, filled, shapes, uniform
from vireid.core.errors import UserError
from vireid.core.types import Batch
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import convert_state, import_state, is_parameter
from vireid.models.pretrained import read_state

ARCHS = {"idkl": "idkl", "idkl_fork": "fork"}
# Parameters that a fresh public model counts at 395 classes.
TOTAL_395 = {"idkl": 74_967_332, "idkl_fork": 91_762_916}
# Loss terms that the public code computes in parts.
PARTS = {
    "tgsa_intra": ("tgsa_intra_vi", "tgsa_intra_vx", "tgsa_intra_xi"),
    "tgsa_inter": ("tgsa_inter_visible", "tgsa_inter_infrared"),
    "csa1_inter": ("csa1_inter_visible", "csa1_inter_infrared"),
    "csa2_inter": ("csa2_inter_visible", "csa2_inter_infrared"),
    "purifier": ("purifier_entropy", "purifier_centroid"),
    "fork_attention": ("attention",),
}


def _constant(arch: str) -> dict[str, Tensor]:
    """A whole public state dict that takes no memory: one value per key."""
    return {
        key: torch.tensor(0) if key.endswith("tracked") else torch.tensor(1e-3).expand(shape)
        for key, shape in shapes(ARCHS[arch]).items()
    }


@cache
def _random(arch: str) -> dict[str, Tensor]:
    """The state dict with which the golden values were made; what never runs is left constant."""
    live = {key: entry.shape for key, entry in IMPORTERS.load(arch)().layout(20).items() if entry.target}
    return _constant(arch) | filled(live)


@pytest.mark.parametrize("arch", ARCHS)
def test_layout_names_every_key_of_the_public_code_and_its_shape(arch: str) -> None:
    importer = IMPORTERS.load(arch)()
    assert {key: entry.shape for key, entry in importer.layout(20).items()} == shapes(ARCHS[arch])
    parameters = [entry.shape for key, entry in importer.layout(395).items() if is_parameter(key)]
    assert sum(torch.Size(shape).numel() for shape in parameters) == TOTAL_395[arch]


@pytest.mark.parametrize("arch", ARCHS)
def test_import_counts_what_is_deployed_trained_only_and_dead(arch: str) -> None:
    imported = convert_state(_constant(arch), arch, "checkpoint")
    assert imported.num_classes == 20
    assert imported.parameters["deployed"] == sum(p.numel() for p in imported.model.embedder.parameters())
    ours = sum(p.numel() for p in imported.model.parameters())
    assert sum(imported.parameters.values()) == TOTAL_395[arch] - 3 * 375 * 2048
    assert imported.parameters["dead"] == sum(imported.dead.values())
    left_out = sum(count for part, count in imported.dead.items() if "cross_attn" not in part)
    assert sum(imported.parameters.values()) - left_out == ours
    stages = [f"backbone.shared_module_fr.model_sh_fr.layer{n}" for n in (3, 4)]
    stages += [f"backbone.special.special_module.{part}" for part in ("conv1", "bn1", "layer1", "layer2")]
    assert {*stages, "backbone.special_att.channel_attention"} <= set(imported.dead)
    assert not imported.model.training


def _without(key: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: state.pop(key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("bn_neck.weight"), r"1 missing \(bn_neck.weight\); save the whole state dict of 1KK077"),
        (_without("classifier.weight"), r"1 missing \(classifier.weight\)"),
        (_without("backbone.special_att.channel_attention.0.weight"), "1 missing .*special_att"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unknown \(extra\)"),
        (
            lambda s: s.update({"bn_neck.bias": torch.zeros(7)}),
            r"1 of another shape \(bn_neck.bias \(7,\) instead of \(2048,\)\)",
        ),
        (lambda s: s.update({"classifier_sp.weight": torch.zeros(30, 2048)}), r"\(30, 2048\) instead of \(20, 2048\)"),
        (lambda s: s.update({"bn_neck.bias": torch.full((2048,), torch.nan)}), "'bn_neck.bias' holds NaN"),
        (lambda s: s.update({"bn_neck.bias": torch.zeros(2048, dtype=torch.long)}), "'bn_neck.bias' holds torch.int64"),
    ],
)
def test_every_misfit_is_named(spoil: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = _constant("idkl")
    spoil(state)
    with pytest.raises(UserError, match=message):
        convert_state(state, "idkl", "checkpoint")


@pytest.mark.parametrize(("given", "fitting"), [("idkl", "idkl_fork"), ("idkl_fork", "idkl")])
def test_the_architecture_that_fits_is_suggested(given: str, fitting: str) -> None:
    state = _constant(fitting)
    state.pop("bn_neck.weight")
    with pytest.raises(UserError, match=f"does not fit --arch {given}: .*looks like --arch {fitting}$"):
        convert_state(state, given, "checkpoint")


@pytest.mark.parametrize("wrapper", [None, "net", "state_dict", "model"])
def test_wrapped_and_prefixed_state_dicts_are_accepted(tmp_path: Path, wrapper: str | None) -> None:
    state = {f"module.{key}": value for key, value in _constant("idkl").items()}
    file = tmp_path / "public.pth"
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 7}, file)
    assert read_state(file).keys() == shapes("idkl").keys()


def test_files_that_are_no_state_dict_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "public.pth"
    with pytest.raises(UserError, match="no such file"):
        import_state(file, "idkl")
    file.write_bytes(b"not a checkpoint at all")
    with pytest.raises(UserError, match="corrupt"):
        import_state(file, "idkl")
    torch.save({"epoch": 7}, file)
    with pytest.raises(UserError, match="not a state dict"):
        import_state(file, "idkl")
    torch.save(nn.Linear(2, 2), file)  # holds code, which is never run
    with pytest.raises(UserError, match="other Python objects"):
        import_state(file, "idkl")
    torch.save(_constant("idkl"), file)
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(UserError, match="corrupt"):
        import_state(file, "idkl")


def _golden(arch: str, case: str) -> tuple[dict[str, object], Batch]:
    expected = json.loads((GOLDEN / f"parity_{arch}.json").read_text())["cases"][case]
    arrays = batch_arrays(
        *(expected[name] for name in ("identities", "images", "height", "width")), alternating=arch == "idkl"
    )
    none = torch.zeros_like(arrays["labels"])
    return expected, Batch(arrays["images"], arrays["labels"], arrays["infrared"].long(), none, none)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_embeddings_equal_the_public_code(arch: str, case: str) -> None:
    model = convert_state(_random(arch), arch, "checkpoint").model
    _, batch = _golden(arch, case)
    expected = torch.from_numpy(np.load(GOLDEN / f"parity_{arch}.npz")[f"embedding_{case}"])
    with torch.no_grad():
        measured = model.embed(batch)["embedding"][: len(expected)]
    assert float((measured - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("case", ["a", pytest.param("b", marks=pytest.mark.check)])
def test_loss_terms_and_gradients_equal_the_public_code(arch: str, case: str) -> None:
    model = convert_state(_random(arch), arch, "checkpoint").model.train().double()  # in float32, units at a kink flip
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # its draws differ from the public code's
    expected, batch = _golden(arch, case)
    batch = replace(batch, images=batch.images.double())
    terms = model.loss_terms(model(batch), batch)
    for name, value in terms.items():
        reference = sum(expected["terms"][part] for part in PARTS.get(name, (name,)))
        assert float(value.detach()) == pytest.approx(reference, rel=1e-4), name
    weights = model.default_weights()
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    assert float(total.detach()) == pytest.approx(expected["total"], rel=1e-4)
    total.backward()
    _check_gradients(model, arch, case)


def _check_gradients(model: nn.Module, arch: str, case: str) -> None:
    """Compare norm and projection on a random direction of the gradient of every deployed parameter."""
    names = json.loads((GOLDEN / f"parity_{arch}.json").read_text())["gradients"]
    values = np.load(GOLDEN / f"parity_{arch}.npz")[f"gradients_{case}"]
    layout = IMPORTERS.load(arch)().layout(20)
    parameters = dict(model.named_parameters())
    seen = set()
    for name, (norm, projection) in zip(names, values, strict=True):
        target = layout[name].target
        gradient = parameters[target].grad.double()
        seen.add(target)
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-3), name
        direction = uniform(f"projection {name}", tuple(gradient.shape)).double()
        assert abs(float((gradient * direction).sum()) - projection) < 1e-3 * norm, name
    assert seen == {n for n, p in parameters.items() if n.startswith("embedder.") and p.requires_grad}
