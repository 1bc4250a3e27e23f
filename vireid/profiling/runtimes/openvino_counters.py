"""The nodes of OpenVINO's compiled graph, and which modules they belong to."""

from collections.abc import Mapping
from math import prod
from typing import Any

from vireid.profiling.runtimes.layer_times import LayerTime, summed

_PRODUCTS = ("Convolution", "GroupConvolution", "MatMul", "FullyConnected")
_BITS = {"f32": 32, "i32": 32, "bf16": 16, "f16": 16, "i64": 64, "i8": 8, "u8": 8}


def counted_layers(seconds: Mapping[str, float], graph: Any, modules: Mapping[str, str]) -> list[LayerTime]:
    """Time of every executed node, added up by module; nodes without one (reorders) are left out.

    Args:
        seconds: of each executed node, by name.
        graph: OpenVINO's runtime model.
        modules: of the ONNX file's nodes, as ``onnx_modules`` tells.
    """
    layers = []
    for node in graph.get_ordered_ops():
        name = node.get_friendly_name()
        made_from = [part for part in _told(node, "originalLayersNames").split(",") if part in modules]
        if name in seconds and made_from:
            product = _told(node, "layerType") in _PRODUCTS and name in modules  # which keeps its name when it is fused
            layers.append(LayerTime(modules[name if product else made_from[0]], seconds[name], _bytes(node)))
    return summed(layers)


def _told(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].value if hasattr(info[key], "value") else info[key]) if key in info else ""


def _bytes(node: Any) -> int | None:
    """Inputs (weights among them) and outputs, as their makers hold them; None where a type or shape is not known."""
    makers = [node, *(value.get_source_output().get_node() for value in node.inputs())]
    sizes = [_output_bytes(maker) for maker in makers]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _output_bytes(node: Any) -> int | None:
    shape, bits = node.output(0).get_partial_shape(), _BITS.get(_told(node, "outputPrecisions").split(",")[0])
    return None if bits is None or shape.is_dynamic else prod(shape.to_shape()) * bits // 8
