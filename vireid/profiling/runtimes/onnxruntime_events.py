"""The nodes in ONNX Runtime's profile, and which modules they belong to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.core.errors import optional_module
from vireid.profiling.runtimes.layer_times import LayerTime, calm, mean, summed

_TIMED = "_kernel_time"  # after a node's name
_BLOCKED = "_nchwc"  # after an output's name, of nodes that were changed to blocked channels
_FUSED = "fused "  # before the name of a fused convolution
_PRODUCTS = ("Conv", "Gemm", "MatMul")
_SIZES = ("parameter_size", "activation_size", "output_size")  # bytes: weights, inputs, outputs


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
    graph = optional_module("onnx", "deploy").load(file).graph
    nodes = {node.name: node for node in graph.node}
    made_by = {output: node for node in graph.node for output in node.output}
    samples: dict[tuple[str, str], list[float]] = {}
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIMED):
            key = event["name"].removesuffix(_TIMED), event["args"]["node_index"]
            samples.setdefault(key, []).append(event["dur"] / 1e6)
            first.setdefault(key, event["args"])
    layers, chosen = [], calm(forwards)
    for key, seconds in samples.items():
        name, told = key[0], first[key]
        node = nodes.get(name.removeprefix(_FUSED)) or made_by.get(name.removesuffix(_BLOCKED))
        if _is_product(told["op_name"]):
            node = _product_before(node, made_by)
        if node is not None and node.name in modules:
            moved = sum(int(told[size]) for size in _SIZES)
            layers.append(LayerTime(modules[node.name], mean(seconds[-len(forwards) :], chosen), moved))
    return summed(layers)


def _is_product(operator: str) -> bool:
    """Whether an operator is a convolution or matrix product, plain, fused or in integers (``QLinearConv``)."""
    return any(kind in operator for kind in _PRODUCTS)


def _product_before(node: Any, made_by: Mapping[str, Any]) -> Any:
    """The product whose output a node goes on from: a fused kernel may be named by its activation. None without one."""
    while node is not None and not _is_product(node.op_type):
        node = made_by.get(node.input[0])
    return node
