"""The nodes in ONNX Runtime's profile, and which modules they belong to."""

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from vireid.core.errors import optional_module
from vireid.profiling.runtimes.layer_times import LayerTime, calm, mean, summed

_TIMED = "_kernel_time"  # after a node's name
_BLOCKED = "_nchwc"  # after an output's name, of nodes that were changed to blocked channels
_MOVED = re.compile(r"_token_\d+$")  # after a node's name, where layouts were changed
_FUSED = "fused "  # before the name of a fused convolution
_PRODUCTS = ("Conv", "Gemm", "MatMul")


def node_times(
    events: Sequence[Mapping[str, Any]], file: Path, modules: Mapping[str, str], forwards: Sequence[float]
) -> list[LayerTime]:
    """Time of every node over the calm ones of the last forwards, added up by module; nodes without one are left out.

    Args:
        events: of the profile.
        file: the ONNX file that ran.
        modules: of its nodes, as ``onnx_modules`` tells.
        forwards: seconds of those that count; the ones before warmed up.
    """
    graph = _Graph(optional_module("onnx", "deploy").load(file).graph)
    samples: dict[tuple[str, str], list[float]] = {}
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIMED):
            key = event["name"].removesuffix(_TIMED), event["args"]["node_index"]
            samples.setdefault(key, []).append(event["dur"] / 1e6)
            first.setdefault(key, event["args"])
    layers, chosen = [], calm(forwards)
    for key, seconds in samples.items():
        told = first[key]
        node = graph.node(key[0], told["op_name"])
        if node is not None and node.name in modules:
            moved = graph.weights(node) if _is_product(node.op_type) else int(told["parameter_size"])
            moved += int(told["activation_size"]) + int(told["output_size"])
            layers.append(LayerTime(modules[node.name], mean(seconds[-len(forwards) :], chosen), moved))
    return summed(layers)


class _Graph:
    """The file's graph, by the names that ONNX Runtime makes of its nodes'."""

    def __init__(self, graph: Any) -> None:
        self._nodes = {node.name: node for node in graph.node}
        self._made_by = {output: node for node in graph.node for output in node.output}
        self._stored = {tensor.name: tensor for tensor in graph.initializer}

    def node(self, name: str, operator: str) -> Any:
        """The file's node that an executed one stands for; None where it stands for none (reorders, casts)."""
        plain = _MOVED.sub("", name.removeprefix(_FUSED))
        node = self._nodes.get(plain) or self._made_by.get(plain.removesuffix(_BLOCKED))
        while _is_product(operator) and node is not None and not _is_product(node.op_type):
            node = self._made_by.get(node.input[0])  # a fused kernel may be named by its activation
        return node

    def weights(self, node: Any) -> int:
        """Bytes of a product's weights and bias as the file holds them: the profile leaves out what is packed ahead."""
        helper = optional_module("onnx.helper", "deploy")
        total = 0
        for name in node.input[1:]:
            dequantised = self._made_by.get(name)
            tensor = self._stored.get(name if dequantised is None else dequantised.input[0])
            if tensor is not None:
                total += prod(tensor.dims) * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        return total


def _is_product(operator: str) -> bool:
    """Whether an operator is a convolution or matrix product, plain, fused or in integers (``QLinearConv``)."""
    return any(kind in operator for kind in _PRODUCTS)
