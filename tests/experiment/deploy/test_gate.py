"""A deployed file that is broken is stopped: swapped normalisation, a wrong resize, one saturated layer."""

from itertools import pairwise

import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.experiment.context import RunContext
from vireid.experiment.deploy import export as exports
from vireid.experiment.deploy.evaluate import quantise_step
from vireid.experiment.deploy.export import export_step
from vireid.experiment.deploy.gate import check_exported
from vireid.experiment.fit import fit_step
from vireid.profiling.runtimes import onnxruntime as runtime
from vireid.store import Store

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
SETTING = {"images": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A fit on images that are resized; what its int8 may lose is wide, as it hardly trained."""
    limits = "evaluation.gate.int8={cosine_distance: 0.25, rank1: 0.3, mAP: 0.1}"
    run = RunContext(tiny("data.height=48", "data.width=24", limits), Store(tmp_path_factory.mktemp("store")))
    fit_step(run)
    return run


def _exported(run, folder):
    return export_step(run, folder, ["onnx"], lambda files: check_exported(run, files))


def test_a_sound_export_passes(trained, tmp_path):
    assert [file.path.name for file in _exported(trained, tmp_path / "out").files] == ["model.onnx"]


@pytest.mark.parametrize(
    "broken",
    [
        {"MEAN": exports.STD, "STD": exports.MEAN},
        {"RULE": "pillow-nearest"},
    ],
    ids=["swapped normalisation", "wrong resize"],
)
def test_what_a_file_says_wrongly_of_images_is_stopped(trained, tmp_path, monkeypatch, broken):
    for name, value in broken.items():
        monkeypatch.setattr(exports, name, value)
    with pytest.raises(UserError, match=r"^onnx, fp32: cosine distance up to .* against the trained model in PyTorch"):
        _exported(trained, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "nothing was written"
    assert export_step(trained, tmp_path / "out", ["onnx"]).files, "forced, it is"


def _saturate(content, layer):
    """Cut the range that a layer's output is quantised to down to a thirtieth."""
    model = onnx.load_model_from_string(content)
    made = next(node.output[0] for node in model.graph.node if f"{layer}.weight" in "".join(node.input))
    reader = next(node for node in model.graph.node if made in node.input)
    while reader.op_type != "QuantizeLinear":
        reader = next(node for node in model.graph.node if reader.output[0] in node.input)
    (scale,) = (each for each in model.graph.initializer if each.name == reader.input[1])
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) / 30, scale.name))
    return model.SerializeToString()


def test_a_saturated_layer_is_stopped_and_named(trained, tmp_path, monkeypatch):
    (sound,) = quantise_step(trained, tmp_path / "sound", ["onnxruntime"], [SETTING], layers=True)
    graph = onnx.load(sound.files[0]).graph
    layers = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    assert len(sound.layers) == len(layers)
    assert all(earlier.added >= later.added for earlier, later in pairwise(sound.layers))
    assert all(0 < loss.noise < 0.1 for loss in sound.layers)
    layer = layers[0].removesuffix("_DequantizeLinear_Output").removesuffix(".weight")
    quantise = runtime.quantise_onnx
    monkeypatch.setattr(runtime, "quantise_onnx", lambda *given: _saturate(quantise(*given), layer))
    with pytest.raises(UserError, match=rf"^onnxruntime, int8.*Of the layers {layer} loses most \({layer} ") as stopped:
        quantise_step(trained, tmp_path / "out", ["onnxruntime"], [SETTING])
    assert "Nothing was written" in str(stopped.value)
    assert not (tmp_path / "out").exists()
    (forced,) = quantise_step(trained, tmp_path / "out", ["onnxruntime"], [SETTING], force=True)
    assert forced.files[0].is_file()
