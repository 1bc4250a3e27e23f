"""Arrays that a user hands over, loss terms on them, and imported models kept on disk."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.errors import UserError
from vireid.core.types import Batch
from vireid.experiment.identity import MODEL_CARD, ModelCard
from vireid.external.audit import embed_file, load_imported, save_imported
from vireid.external.features import ImageArray, loss_terms_of_file
from vireid.losses.terms import evaluate_terms
from vireid.models.agw import AGW
from vireid.models.agw_config import AGWConfig
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported
from vireid.overrides import compose

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = IDKLConfig(backbone="resnet18", width=0.125)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return IDKL(SMALL, 5).eval()


@pytest.fixture
def images():
    return np.random.default_rng(1).standard_normal((7, 3, 32, 16)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_are_read_in_batches_as_they_are(tmp_path, images, save, dtype, order):
    save(tmp_path / "in.npz", other=np.zeros(3), images=np.asarray(images, dtype, order=order))
    batches = list(ImageArray(tmp_path / "in.npz").batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert all(batch.dtype == np.float32 for batch in batches)
    assert np.array_equal(np.concatenate(batches), images.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 32, 16, 3), np.float32), r"\(4, 32, 16, 3\); expected N×3×H×W"),
        (np.zeros((3, 32, 16), np.float32), "expected N×3×H×W"),
        (np.zeros((0, 3, 32, 16), np.float32), "expected N×3×H×W"),
        (np.zeros((4, 3, 32, 16), np.uint8), "holds uint8; expected normalised float32"),
    ],
)
def test_images_of_another_shape_or_kind_are_refused(tmp_path, array, message):
    np.savez(tmp_path / "in.npz", images=array)
    with pytest.raises(UserError, match=message):
        ImageArray(tmp_path / "in.npz")


def test_files_without_readable_images_are_refused(tmp_path, images):
    file = tmp_path / "in.npz"
    with pytest.raises(UserError, match="no such file"):
        ImageArray(file)
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a readable"):
        ImageArray(file)
    np.savez(file, image=images)
    with pytest.raises(UserError, match="has no array 'images'; did you mean 'image'"):
        ImageArray(file)
    np.savez(file, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"not a readable|expected N×3×H×W"):
        ImageArray(file)
    whole = io.BytesIO()
    np.save(whole, images)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", whole.getvalue()[:-100])
    with pytest.raises(UserError, match="not a readable"):
        list(ImageArray(file).batches(3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_image_that_is_not_finite_is_named(tmp_path, images, value):
    images[5, 1, 2, 3] = value
    np.savez(tmp_path / "in.npz", images=images)
    with pytest.raises(UserError, match=r"image 5 .* holds NaN or infinity"):
        list(ImageArray(tmp_path / "in.npz").batches(2))


def test_embeddings_are_those_of_the_deployed_branch(tmp_path, model, images, monkeypatch):
    monkeypatch.setattr("vireid.external.audit._PIXELS_PER_BATCH", 3 * 32 * 16)
    np.savez(tmp_path / "in.npz", images=images)
    assert embed_file(model, tmp_path / "in.npz", tmp_path / "out.npz") == (7, 64)
    with torch.no_grad():
        expected = model.embedder(torch.from_numpy(images)).numpy()
    with np.load(tmp_path / "out.npz") as out:
        assert np.allclose(out["embedding"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match=r"the folder .* does not exist"):
        embed_file(model, tmp_path / "in.npz", tmp_path / "no" / "out.npz")


def test_models_with_a_path_per_modality_ask_for_modalities(tmp_path, images, monkeypatch):
    monkeypatch.setattr("vireid.external.audit._PIXELS_PER_BATCH", 3 * 32 * 16)
    torch.manual_seed(0)
    model = AGW(AGWConfig(backbone="resnet18", width=0.125, nonlocal_blocks=(0, 0, 0, 0)), 5).eval()
    source, target = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(source, images=images)
    with pytest.raises(UserError, match=r"add an array 'modality' \(7 integers: 0 visible, 1 infrared\)"):
        embed_file(model, source, target)
    for wrong in (np.zeros(6, np.int64), np.array([0, 1, 2, 0, 0, 0, 0])):
        np.savez(source, images=images, modality=wrong)
        with pytest.raises(UserError, match=r"expected one for each of the 7 images"):
            embed_file(model, source, target)
    modality = np.array([0, 1, 1, 0, 1, 0, 0])
    np.savez(source, images=images, modality=modality)
    embed_file(model, source, target)
    none = torch.zeros(7, dtype=torch.long)
    with torch.no_grad():
        expected = model.embed(Batch(torch.from_numpy(images), none, torch.from_numpy(modality), none, none))
    with np.load(target) as out:
        assert np.allclose(out["embedding"], expected["embedding"].numpy(), rtol=1e-5, atol=1e-6)


def test_a_kept_model_comes_back_bit_by_bit(tmp_path, model, images):
    (tmp_path / "public.pth").write_bytes(b"where it came from")
    imported = Imported(model, 5, {"deployed": 1, "training_only": 2, "dead": 3}, {"part": 3})
    save_imported(imported, tmp_path / "public.pth", "idkl", tmp_path / "kept")
    batch = torch.from_numpy(images)
    for place in (tmp_path / "kept", tmp_path / "kept" / MODEL_CARD):
        loaded = load_imported(place)
        assert isinstance(loaded, nn.Module)
        assert not loaded.training
        assert torch.equal(loaded.embedder(batch), model.embedder(batch))
        trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        assert [name for name, p in loaded.named_parameters() if p.requires_grad] == trainable
    card = ModelCard.model_validate(json.loads((tmp_path / "kept" / MODEL_CARD).read_text()))
    assert card.model == SMALL
    assert (card.num_classes, card.source_file, card.dead) == (5, "public.pth", {"part": 3})


def test_kept_models_that_are_damaged_are_refused(tmp_path, model):
    (tmp_path / "public.pth").write_bytes(b"")
    kept = tmp_path / "kept"
    with pytest.raises(UserError, match=r"model.json: not a readable model card; write one with `vireid import"):
        load_imported(kept)
    save_imported(Imported(model, 5, {}, {}), tmp_path / "public.pth", "idkl", kept)
    card = (kept / MODEL_CARD).read_text()
    (kept / MODEL_CARD).write_text(card.replace('"num_classes": 5', '"num_classes": 6'))
    with pytest.raises(UserError, match=r"not of the model in model.json .*import the checkpoint again"):
        load_imported(kept)
    (kept / MODEL_CARD).write_text(card.replace('"arch"', '"arhc"'))
    with pytest.raises(UserError, match="unknown key 'arhc'; did you mean 'arch'"):
        load_imported(kept)
    (kept / MODEL_CARD).write_text(card)
    weights = kept / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match="missing, corrupt"):
        load_imported(kept)
    weights.unlink()
    with pytest.raises(UserError, match="missing, corrupt"):
        load_imported(kept)


@pytest.mark.parametrize("case", ["a", "b"])
def test_loss_terms_equal_the_golden_values(case):
    expected = json.loads((GOLDEN / f"loss_{case}.json").read_text())
    assert loss_terms_of_file(GOLDEN / f"loss_{case}.npz", "idkl") == pytest.approx(expected, rel=1e-5)


def test_the_margin_is_the_architectures():
    fork = loss_terms_of_file(GOLDEN / "loss_a.npz", "idkl_fork")
    assert fork == evaluate_terms(np.load(GOLDEN / "loss_a.npz"), margin=0.3)


def _drop(name):
    return lambda arrays: arrays.pop(name)


def _put(name, value):
    return lambda arrays: arrays.update({name: value(arrays[name])})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("logits_shared"), "has no array 'logits_shared'; did you mean"),
        (_drop("labels"), "has no array 'labels'"),
        (_put("shared", lambda x: x[:-1]), r"'shared' has shape \(15, 16\); expected B×D, B rows as in 'labels'"),
        (_put("infrared", lambda x: x[:, None]), r"'infrared' has shape \(16, 1\); expected B"),
        (_put("logits_specific", lambda x: x[:, :4]), r"'logits_shared' \(16, 10\) and 'logits_specific' \(16, 4\)"),
        (_put("normed", lambda x: x * np.nan), "'normed' must hold finite floats, not NaN or infinity"),
        (_put("shared", lambda x: x.astype(int)), "'shared' must hold finite floats, not int64"),
        (_put("labels", lambda x: x + 0.5), "'labels' must hold identity numbers, not float64"),
        (_put("infrared", lambda x: x + 1), "'infrared' must hold True for infrared rows, not int64"),
        (_put("infrared", lambda x: x & False), "16 visible and 0 infrared rows"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, spoil, message):
    arrays = dict(np.load(GOLDEN / "loss_a.npz"))
    spoil(arrays)
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(UserError, match=message):
        loss_terms_of_file(tmp_path / "in.npz", "idkl")


def test_a_bare_array_is_refused(tmp_path):
    with (tmp_path / "in.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match="holds one bare array"):
        loss_terms_of_file(tmp_path / "in.npz", "idkl")


@pytest.mark.parametrize(("arch", "preset"), [("idkl", "idkl_released"), ("idkl_fork", "optimized_fork")])
def test_an_imported_model_is_configured_as_the_preset_of_its_code(arch, preset):
    imported = IMPORTERS.load(arch)().config()
    given = compose(["data=sysu_quick", f"model={preset}"]).model
    assert given.active_weights() == imported.active_weights()
    start = {"weights", "pretrained", "pretrained_partial"}  # spelt out there, and where training starts from
    assert given.model_dump(exclude=start) == imported.model_dump(exclude=start)
