"""Post-training quantisation of a deployed graph to int8, by NNCF or by ONNX Runtime's own tool."""

import contextlib
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vireid.core.errors import optional_module
from vireid.core.types import FloatArray
from vireid.profiling.config import QuantisationConfig
from vireid.profiling.export.formats import INPUT, save_ir


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
        return _nncf_onnx(content, images, settings)
    return _onnxruntime_onnx(content, images, settings)


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
        model = _quantise(core.read_model(content), list(images), settings, "openvino")
    else:
        model = core.read_model(_onnxruntime_onnx(content, images, settings))
    save_ir(model, path, metadata)


CUT = 1e-4  # share of an image's values that a percentile range leaves out at either end
_FLOAT = {  # pooling to a power and the neck: a per-tensor range would cut what GeM is there to emphasise
    "openvino": ["Power", "ReduceMean", "Clamp", "Maximum"],
    "onnx": ["Pow", "ReduceMean", "Clip", "Max"],
}


def _nncf_onnx(content: bytes, images: Sequence[FloatArray], settings: QuantisationConfig) -> bytes:
    """An ONNX file in int8 (quantise and dequantise operators around float ones, which runtimes fuse)."""
    onnx = optional_module("onnx", "deploy")
    model = onnx.load_model_from_string(content)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    quantised = _quantise(model, [{INPUT: batch} for batch in images], settings, "onnx")
    if properties:
        onnx.helper.set_model_props(quantised, properties)
    onnx.checker.check_model(quantised)
    result: bytes = quantised.SerializeToString()
    return result


def _quantise(model: Any, items: list[Any], settings: QuantisationConfig, kind: str) -> Any:
    with _quiet_nncf():
        nncf = optional_module("nncf", "deploy")
        presets = nncf.QuantizationPreset
        return nncf.quantize(
            model,
            nncf.Dataset(items),
            subset_size=len(items),
            preset=presets.PERFORMANCE if settings.activations == "symmetric" else presets.MIXED,
            fast_bias_correction=settings.bias_correction != "full",
            ignored_scope=nncf.IgnoredScope(types=_FLOAT[kind], validate=False),
            advanced_parameters=_advanced(nncf, settings),
        )


def _advanced(nncf: Any, settings: QuantisationConfig) -> Any:
    parameters = nncf.AdvancedQuantizationParameters(disable_bias_correction=settings.bias_correction == "none")
    if settings.weight_bits == 7:
        parameters.overflow_fix = nncf.OverflowFix.ENABLE  # of its own accord NNCF does so for first layers alone
    if settings.ranges == "percentile":
        ranges = importlib.import_module("nncf.quantization.range_estimator")
        end = ranges.StatisticsCollectorParameters(
            ranges.StatisticsType.QUANTILE, ranges.AggregatorType.MEAN, quantile_outlier_prob=CUT
        )
        parameters.activations_range_estimator_params = ranges.RangeEstimatorParameters(min=end, max=end)
    return parameters


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """No progress bars and notices of the quantiser: the suite's own bar says what goes on."""
    loggers = [logging.getLogger(name) for name in ("nncf", "torch.utils.cpp_extension")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


QUANTISED = ["Conv", "MatMul", "Gemm", "Add", "MaxPool", "Relu"]  # all else stays in float32


def _onnxruntime_onnx(content: bytes, images: Sequence[FloatArray], settings: QuantisationConfig) -> bytes:
    """An ONNX file in int8; ``images`` are batches (B×3×H×W, float32) as the network is fed."""
    onnx = optional_module("onnx", "deploy")
    optional_module("onnxruntime", "deploy")
    library = importlib.import_module("onnxruntime.quantization")
    symmetric = settings.activations == "symmetric"
    with tempfile.TemporaryDirectory(prefix="vireid-quantise-") as name, _quiet_onnxruntime():
        source, target = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(content)
        library.quantize_static(
            source,
            target,
            _Reader(images),
            quant_format=library.QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            reduce_range=settings.weight_bits == 7,
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


@contextlib.contextmanager
def _quiet_onnxruntime() -> Iterator[None]:
    """The tool recommends a preparation through the root logger that the export has done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
