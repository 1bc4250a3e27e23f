"""Int8 sums that leave 16 bits: what AVX2 and AVX-512 without VNNI make of them, and that 7-bit weights mend it.

ONNX Runtime asks the processor itself which instructions it has and cannot be held to fewer, so its rule is shown in
NumPy; OpenVINO's oneDNN obeys ONEDNN_MAX_CPU_ISA and is run.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from vireid.core.processor import SATURATING, kernels_of_runtime
from vireid.profiling import RUNTIMES
from vireid.profiling.config import QuantisationConfig
from vireid.profiling.export.formats import onnx_bytes
from vireid.profiling.quantisation import quantise_onnx

pytestmark = pytest.mark.parametrize("weight_bits", [8, 7])
CHANNELS, SIZE = 32, 8


def exact(activations, weights):
    """Sums (N×O) of products of activations (N×K, uint8) and weights (O×K, int8), in 32 bits: VNNI, AMX and NEON."""
    return activations.astype(np.int32) @ weights.astype(np.int32).T


def saturating(activations, weights):
    """The same as vpmaddubsw adds them: products in pairs, each pair cut off at 16 bits, pairs in 32 bits."""
    products = activations.astype(np.int32)[:, None, :] * weights.astype(np.int32)[None]
    pairs = products.reshape(*products.shape[:2], -1, 2).sum(axis=3)
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=2)


def test_the_rule_in_integers(weight_bits):
    largest = 127 if weight_bits == 8 else 64
    random = np.random.default_rng(0)
    activations = random.integers(0, 256, (50, 64), dtype=np.uint8)
    activations[0] = 255
    weights = random.integers(-largest, largest + 1, (20, 64)).astype(np.int8)
    weights[0], weights[1] = largest, -largest
    differ = exact(activations, weights) != saturating(activations, weights)
    assert differ[0, :2].all() == (weight_bits == 8)
    assert differ.any() == (weight_bits == 8), "255 × 64 × 2 stays within 16 bits"
    assert saturating(activations, weights)[0, 0] == 32 * min(255 * largest * 2, 2**15 - 1)


class Positive(nn.Module):
    """Strong activations and weights of one sign, whose products add up."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.spread, self.summed = nn.Conv2d(3, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        with torch.no_grad():
            self.spread.weight.mul_(0.1)
            self.spread.bias.fill_(3.0)
            self.summed.weight.mul_(0.5).add_(1.0)

    def forward(self, images):
        return self.summed(self.spread(images).relu()).mean((2, 3))


def images():
    return torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def loss(runtime, settings):
    """Largest error of int8 features, relative to those of float."""
    module = Positive().eval()
    config = {"precision": "int8", "quantisation": settings}
    component = RUNTIMES.load(runtime)
    session = component(component.Config(name=runtime, **config))
    session.calibration = [image.numpy() for image in images().split(1)]
    with torch.inference_mode():
        features = torch.cat([session.prepare(module, image)(image) for image in images().split(1)[:1]])
        expected = module(images()[:1])
    return float((features - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_sums_as_the_table_of_kernels_says(runtime, weight_bits):
    for package in ("onnx", "onnxscript", "onnxruntime", runtime):
        pytest.importorskip(package)
    error = loss(runtime, {"weight_bits": weight_bits})
    saturates = kernels_of_runtime(runtime) in SATURATING and weight_bits == 8
    assert (error > 0.05) == saturates, f"{kernels_of_runtime(runtime)}: {error:.3f}"


LIMITED = """
from tests.profiling.quantisation.test_saturation import loss
from vireid.core.processor import kernels_of_runtime
print(kernels_of_runtime("openvino"), loss("openvino", {"weight_bits": %d}))
"""


def test_openvino_held_to_avx2_cuts_sums_off(weight_bits):
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    if kernels_of_runtime("openvino") not in ("vnni", "avx512", "avx2"):
        pytest.skip("no x86 processor with AVX2")
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED % weight_bits], env=environment, capture_output=True, text=True, check=True
    )
    kernels, error = done.stdout.split()
    assert kernels == "avx2"
    assert (float(error) > 0.05) == (weight_bits == 8), error


def test_the_file_holds_weights_of_that_many_bits(weight_bits):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    content = onnx_bytes(Positive().eval(), SIZE, SIZE)
    batches = [image.numpy() for image in images().split(1)]
    model = onnx.load_model_from_string(quantise_onnx(content, batches, QuantisationConfig(weight_bits=weight_bits)))
    weights = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.name.endswith("_quantized")]
    largest = max(int(np.abs(each.astype(int)).max()) for each in weights if each.ndim == 4)
    assert largest == (127 if weight_bits == 8 else 64)
