"""Whether the features that a file gives here are those that it gave where the bundle was made.

Shapes: N images, D feature width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DIFFERENCE = 1e-3  # of float32: largest error of a value, relative to the root mean square of its feature
COSINE = 0.98  # of int8, whose rounding differs between processors: smallest of any image

Array = npt.NDArray[Any]


def compare(features: Array, reference: Array) -> dict[str, float]:
    """``difference`` (see above; infinite where shapes differ) and the smallest ``cosine`` of N×D features."""
    if features.shape != reference.shape:
        return {"difference": float("inf"), "cosine": -1.0}
    computed, expected = features.astype(np.float64), reference.astype(np.float64)
    tiny = np.finfo(np.float64).tiny  # squares of single precision never overflow or vanish in double
    scale = np.maximum(np.sqrt(np.square(expected).mean(axis=1)), tiny)
    lengths = np.maximum(np.linalg.norm(computed, axis=1) * np.linalg.norm(expected, axis=1), tiny)
    return {
        "difference": float((np.abs(computed - expected).max(axis=1) / scale).max()),
        "cosine": float(((computed * expected).sum(axis=1) / lengths).min()),
    }


def fault(precision: str, compared: dict[str, float]) -> str | None:
    """What is wrong with features of a file of that precision; None where they may be used. Not a number is wrong."""
    if precision == "int8":
        if compared["cosine"] >= COSINE:
            return None
        return f"features differ from the stored references: cosine {compared['cosine']:.4f}, below {COSINE:g}"
    if compared["difference"] <= DIFFERENCE:
        return None
    return (
        f"features differ from the stored references by {compared['difference']:.1e} (relative to their root mean "
        f"square), more than {DIFFERENCE:.0e}; cosine {compared['cosine']:.4f}"
    )
