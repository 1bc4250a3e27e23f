"""Quantised graphs: near the float ones, smaller, in int8 where it counts, and told apart by their configuration."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from tests.profiling.quantisation.test_saturation import loss
from vireid.core.errors import UserError
from vireid.overrides import compose
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.config import QuantisationConfig
from vireid.profiling.export.formats import check_images, onnx_bytes
from vireid.profiling.quantisation import quantise_onnx
from vireid.profiling.runtimes.executorch import said_by

HEIGHT, WIDTH = 48, 24
NNCF = {"quantiser": "nncf"}
SETTINGS = [
    ("openvino", {}),
    ("openvino", NNCF | {"activations": "symmetric", "ranges": "percentile", "bias_correction": "fast"}),
    ("onnxruntime", NNCF),
    ("onnxruntime", {}),
    pytest.param("executorch", {}, marks=pytest.mark.check),  # a minute until all of it is imported
    pytest.param("executorch", {"ranges": "histogram"}, marks=pytest.mark.check),
]


class Network(nn.Module):
    """Convolutions with a residual connection, generalised-mean pooling and a neck, as deployed graphs have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.last = nn.Conv2d(16, 32, 1)
        self.neck = nn.BatchNorm1d(32)

    def forward(self, images):
        maps = self.stem(images)
        maps = torch.relu(self.last(maps + self.block(maps)))
        return self.neck(maps.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3))


def runtime(name, quantisation):
    component = RUNTIMES.load(name)
    made = component(component.Config(name=name, precision="int8", quantisation=quantisation))
    if (reason := made.available()) is not None:
        pytest.skip(reason)
    return made


@pytest.mark.parametrize(("name", "quantisation"), SETTINGS)
def test_features_stay_near(name, quantisation, tmp_path):
    made, module, images = runtime(name, quantisation), Network().eval(), check_images(8, HEIGHT, WIDTH)
    made.calibration = [part.numpy() for part in images.split(1)]
    file = made.store(module, images[:1], tmp_path)
    session = made.load(file, images[:1])
    with torch.inference_mode():
        expected = module(images)
    found = torch.cat([session(image) for image in images.split(1)])
    assert made.precision == "int8"
    cosine = torch.cosine_similarity(found, expected)
    assert float(cosine.min()) > 0.98
    assert not torch.allclose(found, expected, atol=1e-6), "nothing was quantised"


@pytest.mark.parametrize("quantisation", [NNCF, {}])
def test_convolutions_are_int8_and_pooling_is_not(quantisation):
    onnx = pytest.importorskip("onnx")
    runtime("onnxruntime", quantisation)
    content = onnx_bytes(Network().eval(), HEIGHT, WIDTH, {"run": "abc"})
    settings = QuantisationConfig.model_validate(quantisation)
    images = [part.numpy() for part in check_images(4, HEIGHT, WIDTH).split(1)]
    model = onnx.load_model_from_string(quantise_onnx(content, images, settings))
    assert {entry.key: entry.value for entry in model.metadata_props}["run"] == "abc"
    made_by = {output: node for node in model.graph.node for output in node.output}
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] > 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            weights = made_by[node.input[1]]
            assert weights.op_type == "DequantizeLinear"
            stored = next(t for t in model.graph.initializer if t.name == weights.input[0])
            assert onnx.numpy_helper.to_array(stored).dtype == np.int8
        if node.op_type in ("Pow", "ReduceMean"):
            assert made_by[node.input[0]].op_type != "DequantizeLinear"


def test_a_measurement_needs_no_images(tmp_path):
    made = runtime("onnxruntime", {})
    session = made.prepare(Network().eval(), example_images(1, HEIGHT, WIDTH))
    assert session(example_images(1, HEIGHT, WIDTH)).shape == (1, 32)


@pytest.mark.check
def test_executorch_cuts_off_no_sum():
    """Weights have 8 bits on every processor (``WIDE_SUMS``): strong activations and weights of one sign add up."""
    runtime("executorch", {})
    assert loss("executorch", {}) < 0.05


@pytest.mark.check
def test_programs_of_executorch_are_smaller_and_say_what_they_are(tmp_path):
    """Weights take a byte each; pooling and neck are not quantised; a batch of two has each image's own feature."""
    made, module = runtime("executorch", {}), Wide().eval()
    made.metadata = {"preprocessing": '{"resize": "pillow-bilinear"}', "run": "abc"}
    file = made.store(module, check_images(2, HEIGHT, WIDTH), tmp_path)
    assert said_by(file) == made.metadata
    weights = sum(p.numel() for p in module.parameters() if p.ndim == 4)
    assert weights < file.stat().st_size < 2 * weights
    images = check_images(2, HEIGHT, WIDTH)
    one_way, other_way = (made.load(file, images)(each) for each in (images, images.flip(0)))
    torch.testing.assert_close(one_way, other_way.flip(0))
    with torch.inference_mode():
        assert float(torch.cosine_similarity(one_way, module(images)).min()) > 0.98


class Wide(Network):
    """Weights that outweigh all else in a file."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(nn.Conv2d(16, 256, 3), nn.ReLU(), nn.Conv2d(256, 32, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: executorch, quantisation: {}}", "belongs to precision=int8"),
        ("{name: executorch, precision: int8, quantisation: {weight_bits: 7}}", "weight_bits"),
        ("{name: executorch, precision: bf16}", "fp32"),
        ("{name: onnxruntime, quantisation: {}}", "belongs to precision=int8"),
        ("{name: onnxruntime, precision: int8, quantisation: {quantiser: nncf, bias_correction: fast}}", "far off"),
        ("{name: openvino, precision: int8, quantisation: {bias_correction: fast}}", "bias_correction is nncf's"),
        ("{name: openvino, precision: int8, quantisation: {ranges: percentile}}", "percentile is nncf's"),
        ("{name: onnxruntime, precision: int8, quantisation: {range: minmax}}", "did you mean 'ranges'"),
    ],
)
def test_impossible_settings_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        compose(["model=idkl_small", f"profile.runtimes=[{text}]"])
