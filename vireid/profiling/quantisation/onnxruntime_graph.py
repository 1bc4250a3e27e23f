"""Quantisation of ONNX files by ONNX Runtime's own tool."""

import importlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vireid.core.extras import optional_module
from vireid.core.types import FloatArray
from vireid.profiling.export.formats import INPUT
from vireid.profiling.runtimes.config import QuantisationConfig

QUANTISED = ["Conv", "MatMul", "Gemm", "Add", "MaxPool", "Relu"]  # all else stays in float32


def quantise_onnx(content: bytes, images: Sequence[FloatArray], settings: QuantisationConfig) -> bytes:
    """An ONNX file in int8; ``images`` are batches (B×3×H×W, float32) as the network is fed."""
    onnx = optional_module("onnx", "deploy")
    optional_module("onnxruntime", "deploy")
    library = importlib.import_module("onnxruntime.quantization")
    symmetric = settings.activations == "symmetric"
    with tempfile.TemporaryDirectory(prefix="vireid-quantise-") as name, _quiet():
        source, target = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(content)
        library.quantize_static(
            source,
            target,
            _Reader(images),
            quant_format=library.QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=library.QuantType.QInt8 if symmetric else library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            calibrate_method=library.CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
        )
        model = onnx.load(target)
    properties = {entry.key: entry.value for entry in onnx.load_model_from_string(content).metadata_props}
    if properties:
        onnx.helper.set_model_props(model, properties)
    result: bytes = model.SerializeToString()
    return result


class _Reader:
    """Batches one after the other, in the form that the tool asks for."""

    def __init__(self, images: Sequence[FloatArray]) -> None:
        self._batches = iter(images)

    def get_next(self) -> dict[str, FloatArray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


class _quiet:  # noqa: N801 - reads as the verb it is
    """The tool recommends a preparation through the root logger that the export has done already."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
