"""Which layer of an int8 file loses most: signal-to-noise between the float and the int8 graph, layer by layer."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.errors import optional_module
from vireid.core.types import FloatArray
from vireid.profiling.export.formats import INPUT

LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """A layer's output in int8 beside its output in float, over all given images."""

    layer: str  # by its weights
    noise: float  # squared error ÷ squared signal
    added: float  # of that, what the inputs did not bring along

    @property
    def decibels(self) -> float:
        """Signal-to-noise ratio; infinite without noise."""
        return math.inf if self.noise == 0 else -10 * math.log10(self.noise)


def layer_losses(floating: bytes, quantised: bytes, images: Sequence[FloatArray]) -> list[LayerLoss]:
    """Every convolution and linear layer, those first that add most noise: the ones worth keeping in float32.

    An output counts as the next layer reads it, so that a range that cuts it off is a loss of the layer that made it.
    ONNX Runtime computes both graphs as they stand, without fusing.

    Args:
        floating: ONNX file in float32.
        quantised: the same graph with quantising and dequantising operators.
        images: batches (B×3×H×W, float32) as the network is fed.

    Raises:
        UserError: ONNX or its runtime is not installed.
    """
    onnx = optional_module("onnx", "deploy")
    whole, int8 = (onnx.load_model_from_string(content) for content in (floating, quantised))
    read_as = _read_as(int8.graph)
    there = {name for node in int8.graph.node for name in node.output}
    compared: dict[str, str] = {}  # of each layer's output: the tensor of the float graph that stands for it
    for node in whole.graph.node:
        if node.op_type in LAYERS and (name := _comparable(node.output[0], whole.graph, there)) is not None:
            compared[node.output[0]] = name
    names = list(dict.fromkeys(compared.values()))
    expected = _run(onnx, whole, names, images)
    actual = _run(onnx, int8, [read_as.get(name, name) for name in names], images)
    noise = {name: _noise(one, other) for name, one, other in zip(names, expected, actual, strict=True)}
    losses = []
    for node in whole.graph.node:
        if node.output[0] in compared:
            here = noise[compared[node.output[0]]]
            brought = [noise[compared[source]] for source in _sources(node.input[0], whole.graph, compared)]
            layer = node.input[1].removesuffix(".weight") or node.name
            losses.append(LayerLoss(layer, here, max(0.0, here - max(brought, default=0.0))))
    return sorted(losses, key=lambda loss: -loss.added)


def _read_as(graph: Any) -> dict[str, str]:
    """Of each tensor that is quantised: the dequantised one that other operators read."""
    quantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    dequantised = (node for node in graph.node if node.op_type == "DequantizeLinear")
    return {quantised[node.input[0]]: node.output[0] for node in dequantised if node.input[0] in quantised}


def _comparable(name: str, graph: Any, there: set[str]) -> str | None:
    """The first tensor from ``name`` on, along its only readers, that both graphs have."""
    while name not in there:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            return None
        name = readers[0].output[0]
    return name


def _sources(name: str, graph: Any, layers: dict[str, str]) -> Iterator[str]:
    """Outputs of the layers that a tensor was made from."""
    made_by = {output: node for node in graph.node for output in node.output}
    waiting, seen = [name], set()
    while waiting:
        tensor = waiting.pop()
        if tensor in layers:
            yield tensor
        elif tensor in made_by and tensor not in seen:
            seen.add(tensor)
            waiting += made_by[tensor].input


def _run(onnx: Any, model: Any, names: Sequence[str], images: Sequence[FloatArray]) -> list[FloatArray]:
    """Values of tensors by name, images along the first dimension."""
    library = optional_module("onnxruntime", "deploy")
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    outputs = {value.name for value in observed.graph.output}
    kind = onnx.TensorProto.FLOAT
    added = (onnx.helper.make_tensor_value_info(name, kind, None) for name in names if name not in outputs)
    observed.graph.output.extend(added)
    options = library.SessionOptions()
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = library.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batches = [session.run(list(names), {INPUT: batch}) for batch in images]
    return [np.concatenate(values) for values in zip(*batches, strict=True)]


def _noise(expected: FloatArray, actual: FloatArray) -> float:
    signal = float(np.square(expected, dtype=np.float64).sum())
    error = float(np.square(expected - actual, dtype=np.float64).sum())
    return error / signal if signal > 0 else math.inf if error > 0 else 0.0
