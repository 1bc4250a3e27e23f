"""A model's file made ready to run, and images as it takes them.

Shapes: B images of H×W pixels, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

Array = npt.NDArray[Any]

LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


class Network:
    """A loaded file: images (B×3×H×W, float32) → features (B×D), set up as the suite's ONNX Runtime is.

    Args:
        file: the model.
        runtime: settings as latency records hold them.
        threads: of the operators; they run one after the other.
    """

    def __init__(self, file: Path, runtime: Mapping[str, Any], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        level = LEVELS[runtime.get("optimisation", "all")]
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Array) -> Array:
        """One forward."""
        (features,) = self._session.run(None, {self._input: images})
        return np.asarray(features)


def normalise(pixels: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Pixels as they are stored (B×H×W of grey images, or B×H×W×3, uint8) as the network takes them."""
    colours = np.repeat(pixels[..., None], 3, axis=3) if pixels.ndim == 3 else pixels
    scale = np.array([1 / (255 * s) for s in std], dtype=np.float32)
    shift = np.array([-m / s for m, s in zip(mean, std)], dtype=np.float32)
    return np.ascontiguousarray((colours.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2))


def example_images(batch: int, height: int, width: int) -> Array:
    """Images (B×3×H×W) to time with: a ramp, as the suite times with."""
    ramp = np.linspace(-2.0, 2.0, 3 * height * width, dtype=np.float32).reshape(1, 3, height, width)
    return np.repeat(ramp, batch, axis=0)
