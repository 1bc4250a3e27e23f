"""Post-training quantisation of a deployed graph to int8."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vireid.core.extras import optional_module
from vireid.core.types import FloatArray
from vireid.profiling.export.formats import save_ir
from vireid.profiling.quantisation import nncf_graph, onnxruntime_graph
from vireid.profiling.runtimes.config import QuantisationConfig


def quantise_onnx(content: bytes, images: Sequence[FloatArray], settings: QuantisationConfig) -> bytes:
    """An ONNX file in int8, by the quantiser that ``settings`` names; metadata stay.

    Args:
        content: of the float file.
        images: batches (B×3×H×W, float32) as the network is fed; ranges of activations are taken from them.
        settings: how.

    Raises:
        UserError: the quantiser is not installed.
    """
    if settings.quantiser == "nncf":
        return nncf_graph.quantise_onnx(content, images, settings)
    return onnxruntime_graph.quantise_onnx(content, images, settings)


def write_quantised_ir(
    content: bytes,
    path: Path,
    images: Sequence[FloatArray],
    settings: QuantisationConfig,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the float ONNX file ``content``, quantised, as OpenVINO's ``path`` (``….xml``) and ``.bin``.

    Raises:
        UserError: OpenVINO or the quantiser is not installed.
    """
    core = optional_module("openvino", "deploy").Core()
    if settings.quantiser == "nncf":
        model = nncf_graph.quantise_openvino(core.read_model(content), images, settings)
    else:
        model = core.read_model(onnxruntime_graph.quantise_onnx(content, images, settings))
    save_ir(model, path, metadata)
