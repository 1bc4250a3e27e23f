"""Importers of TVI-LFM's public checkpoints, of both stages: equal to the public code, on images and on text."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.public_state import GOLDEN, drawn, shapes
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.external.audit import load_imported, save_imported
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import convert_state, import_state
from vireid.models.text import tokenize
from vireid.models.tvi_lfm import TVILFM

SAID = ("a man in a red jacket and black trousers", "a woman with long hair carrying a blue bag")
SHOWN = ("a man in a jacket and trousers", "a woman with long hair carrying a bag")
COPIES = ("backup_pool.", "backup_classifier.")
TOWER = ("base_model.token_embedding", "base_model.positional", "base_model.transformer", "base_model.ln_final")


def keys_of(arch: str) -> dict[str, tuple[int, ...]]:
    """What the public code saves in either stage; the base network has no copies of itself."""
    everything = shapes("tvi_lfm")
    return everything if arch == "tvi_lfm" else {k: s for k, s in everything.items() if not k.startswith(COPIES)}


@cache
def state(arch: str) -> dict[str, Tensor]:
    """The state dict with which the golden values were made."""
    return {key: drawn(key, shape) for key, shape in keys_of(arch).items()}


@cache
def model_of(arch: str) -> TVILFM:
    model = convert_state(state(arch), arch, "checkpoint").model
    assert isinstance(model, TVILFM)
    return model


@cache
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in np.load(GOLDEN / "model_tvi_lfm.npz").items()}


def images() -> Tensor:
    return torch.from_numpy(np.random.default_rng(7).standard_normal((4, 3, 96, 48))).float()


def assert_near(measured: Tensor, reference: Tensor) -> None:
    unit = nn.functional.normalize(measured)
    assert unit.shape == reference.shape
    assert float((unit - reference).abs().max()) < 1e-5 * float(reference.abs().max())


@pytest.mark.parametrize("arch", ["tvi_lfm", "tvi_lfm_base"])
def test_layout_is_the_public_state_dict(arch: str) -> None:
    layout = IMPORTERS.load(arch)().layout(20)
    assert {key: entry.shape for key, entry in layout.items()} == keys_of(arch)


def test_counts_and_what_is_left_out() -> None:
    base, second = (convert_state(state(arch), arch, "checkpoint") for arch in ("tvi_lfm_base", "tvi_lfm"))
    assert base.num_classes == second.num_classes == 20
    trunk_and_neck = second.parameters["deployed"]
    assert trunk_and_neck == base.parameters["deployed"] == 23_508_032 + 64 * 3 * 49 + 2 * 64 + 1 + 2 * 2048
    assert base.dead.keys() == {"base_model", "logit_scale"}
    copies = {"backup_pool": 1, "backup_classifier.BN": 2 * 2048, "backup_classifier.classifier": 20 * 2048}
    assert second.dead == copies | {"logit_scale": 1}
    tower = sum(torch.Size(s).numel() for k, s in keys_of("tvi_lfm").items() if k.startswith((*TOWER, "base_model.te")))
    assert base.dead["base_model"] == tower
    assert second.parameters["training_only"] == base.parameters["training_only"] + tower


@pytest.mark.parametrize("arch", ["tvi_lfm", "tvi_lfm_base"])
@pytest.mark.parametrize("modality", list(Modality))
def test_features_of_images_equal_the_public_code(arch: str, modality: Modality) -> None:
    with torch.no_grad():
        measured = model_of(arch).deployable(modality)(images())
    assert_near(measured, golden()[f"{modality.name.lower()}_bn"])


def test_features_with_text_equal_the_public_code() -> None:
    np.testing.assert_array_equal(tokenize(SAID, 77).numpy(), golden()["tokens"][:, :11].numpy())
    with torch.no_grad():
        found = model_of("tvi_lfm").describe(images()[:2], SAID, SHOWN)
    assert_near(found["text"], golden()["text_bn"])
    assert_near(found["fused"], golden()["fused_bn"])
    assert_near(found["infrared"], golden()["infrared_bn"][:2])


def test_the_exponent_of_pooling_is_a_number_here() -> None:
    exponent = model_of("tvi_lfm").visual.pool.p
    assert exponent is not None
    assert exponent.shape == ()
    assert exponent.item() == state("tvi_lfm")["base_model.visual.GEM.p"].item()


def test_a_model_saved_and_loaded_again_reads_text_alike(tmp_path: Path) -> None:
    torch.save(state("tvi_lfm"), tmp_path / "model.pth")
    imported = import_state(tmp_path / "model.pth", "tvi_lfm")
    save_imported(imported, tmp_path / "model.pth", "tvi_lfm", tmp_path / "kept")
    loaded = load_imported(tmp_path / "kept")
    assert isinstance(loaded, TVILFM)
    assert not any(buffer.is_meta for buffer in loaded.buffers())
    with torch.no_grad():
        assert_near(loaded.describe(images()[:2], SAID, SHOWN)["text"], golden()["text_bn"])


def test_the_other_stage_is_suggested() -> None:
    with pytest.raises(UserError, match=r"does not fit --arch tvi_lfm: .*missing.*looks like --arch tvi_lfm_base"):
        convert_state(state("tvi_lfm_base"), "tvi_lfm", "checkpoint")
    with pytest.raises(UserError, match=r"does not fit --arch tvi_lfm_base: .*unknown.*looks like --arch tvi_lfm$"):
        convert_state(state("tvi_lfm"), "tvi_lfm_base", "checkpoint")


def test_a_file_as_the_public_script_saves_it_is_read(tmp_path: Path) -> None:
    torch.save(state("tvi_lfm"), tmp_path / "model_Fusion_96.pth")  # bare, as its save_model writes it
    found = import_state(tmp_path / "model_Fusion_96.pth", "tvi_lfm").model
    assert torch.equal(found.classifier.weight, state("tvi_lfm")["classifier.classifier.weight"])
    assert (found.config.fusion, found.config.joint, found.config.retrieval) == ("filter", True, "ensemble")
