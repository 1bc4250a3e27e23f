"""Quantisation by NNCF, of OpenVINO models and of ONNX files."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from vireid.core.extras import optional_module
from vireid.core.types import FloatArray
from vireid.profiling.export.formats import INPUT
from vireid.profiling.runtimes.config import QuantisationConfig

CUT = 1e-4  # share of an image's values that a percentile range leaves out at either end
_FLOAT = {  # pooling to a power and the neck: a per-tensor range would cut what GeM is there to emphasise
    "openvino": ["Power", "ReduceMean", "Clamp", "Maximum"],
    "onnx": ["Pow", "ReduceMean", "Clip", "Max"],
}


def quantise_openvino(model: Any, images: Sequence[FloatArray], settings: QuantisationConfig) -> Any:
    """An OpenVINO model in int8; ``images`` are batches (B×3×H×W, float32) as the network is fed."""
    return _quantise(model, list(images), settings, "openvino")


def quantise_onnx(content: bytes, images: Sequence[FloatArray], settings: QuantisationConfig) -> bytes:
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
    with _quiet():
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
    if settings.ranges == "percentile":
        ranges = importlib.import_module("nncf.quantization.range_estimator")
        end = ranges.StatisticsCollectorParameters(
            ranges.StatisticsType.QUANTILE, ranges.AggregatorType.MEAN, quantile_outlier_prob=CUT
        )
        parameters.activations_range_estimator_params = ranges.RangeEstimatorParameters(min=end, max=end)
    return parameters


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
