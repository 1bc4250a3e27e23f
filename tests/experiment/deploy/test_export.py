"""A fit as files: its own weights, and what a device needs to know beside them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

import vireid
from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data.augmentation import MEAN, STD, normalise
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.deploy.export import export_step
from vireid.experiment.fit import fit_step, trained_model
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.profiling.config import OnnxRuntimeConfig
from vireid.profiling.export.formats import check_images, difference
from vireid.profiling.runtimes.onnxruntime import OnnxRuntime, OrtSession
from vireid.store import Store

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
FORMATS = ("onnx", "safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rendered):
    store = Store(tmp_path_factory.mktemp("store"))
    config = tiny(f"data.root={rendered}")
    return store, fit_step(RunContext(config, store))


def _said(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_a_fit_is_exported_from_its_record_alone(trained, tmp_path):
    store, fit = trained
    config = config_of_fit(fit, [], None, store)  # the images are not needed
    phases = []
    result = export_step(RunContext(config, store, lambda *done: phases.append(done)), tmp_path, FORMATS)
    assert result.run == fit.id
    assert [file.path.name for file in result.files] == ["model.onnx", "model.safetensors"]
    assert [phase[1:] for phase in phases] == [(0, 2, "model, onnx"), (1, 2, "model, safetensors"), (2, 2)]
    images = check_images(3, config.data.height, config.data.width)
    deployed = trained_model(RunContext(config, store)).deployable(Modality.VISIBLE)
    with torch.no_grad():
        expected = deployed(images)
    assert difference(OrtSession(tmp_path / "model.onnx", 1)(images), expected) <= 1e-4
    said = _said(tmp_path / "model.onnx")
    assert said["run"] == fit.id
    assert said["weights"] == "of the run"
    assert said["model"] == "idkl"
    assert json.loads(said["model_config"])["width"] == 0.125
    assert said["vireid_version"] == vireid.__version__
    assert said["modality"] == "visible and infrared"
    assert said["resolution"] == "64x32"
    assert said["feature_size"] == str(expected.shape[1])
    assert said["data_kind"] == "synthetic"
    assert said["graph"] == cost_step(RunContext(config, store)).artefact
    assert said["precision"] == "fp32"
    assert json.loads(said["runtime"]) == {
        **OnnxRuntimeConfig().model_dump(mode="json"),
        "version": OnnxRuntime.version,
    }
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == said
        for name, tensor in deployed.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_the_preprocessing_that_is_stated_is_the_one_of_the_suite(trained, tmp_path):
    store, fit = trained
    config = config_of_fit(fit, [], None, store)
    export_step(RunContext(config, store), tmp_path, ["onnx"])
    stated = json.loads(_said(tmp_path / "model.onnx")["preprocessing"])
    assert (stated["mean"], stated["std"]) == (list(MEAN), list(STD))
    assert (stated["height"], stated["width"]) == (64, 32)
    assert (stated["channels"], stated["layout"], stated["dtype"]) == ("RGB", "NCHW", "float32")
    assert stated["resize"] == "pillow-bilinear"
    low, high = stated["value_range"]
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    scaled = low + pixels.double() / 255 * (high - low)
    mean, std = (torch.tensor(stated[name], dtype=torch.float64).view(1, 3, 1, 1) for name in ("mean", "std"))
    assert torch.allclose(((scaled - mean) / std).float(), normalise(pixels), atol=1e-6)


def test_untrained_weights_are_called_so(tmp_path):
    config = tiny("seed=5")
    result = export_step(RunContext(config, Store(tmp_path / "store")), tmp_path / "files", FORMATS)
    assert result.run is None
    said = _said(tmp_path / "files" / "model.onnx")
    assert (said["run"], said["weights"]) == ("", "initial, seed 5")


def test_a_stem_for_each_modality_gives_a_file_for_each(tmp_path):
    config = tiny("model=agw", "model.backbone=resnet18", "model.nonlocal_blocks=[0,1,0,0]", "model.width=0.125")
    result = export_step(RunContext(config, Store(tmp_path / "store")), tmp_path / "files", ["onnx"])
    assert [file.path.name for file in result.files] == ["model-visible.onnx", "model-infrared.onnx"]
    images = check_images(2, 64, 32)
    found = {}
    for modality in ("visible", "infrared"):
        path = tmp_path / "files" / f"model-{modality}.onnx"
        assert _said(path)["modality"] == modality
        found[modality] = OrtSession(path, 1)(images)
    assert difference(found["visible"], found["infrared"]) > 1e-2


def test_lost_weights_are_named_and_leave_no_folder(trained, tmp_path):
    store, fit = trained
    file = weights_file(store, fit.id)
    aside = tmp_path / "aside"
    file.rename(aside)
    try:
        with pytest.raises(UserError, match=r"the weights of run .* are gone"):
            export_step(RunContext(config_of_fit(fit, [], None, store), store), tmp_path / "files", FORMATS)
    finally:
        aside.rename(file)
    assert not (tmp_path / "files").exists()


def test_weights_load_into_the_deployed_graph_strictly(trained, tmp_path):
    store, fit = trained
    config = config_of_fit(fit, [], None, store)
    export_step(RunContext(config, store), tmp_path, ["safetensors"])
    deployed: nn.Module = trained_model(RunContext(config, store)).deployable(Modality.INFRARED)
    state = {name: torch.zeros_like(tensor) for name, tensor in deployed.state_dict().items()}
    deployed.load_state_dict(state)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        deployed.load_state_dict({name: file.get_tensor(name) for name in file.keys()}, strict=True)  # noqa: SIM118
    images = check_images(1, 64, 32)
    with torch.no_grad():
        expected = trained_model(RunContext(config, store)).deployable(Modality.INFRARED)(images)
        assert torch.equal(deployed(images), expected)
