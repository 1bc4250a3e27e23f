"""Whether the features that a file gives here are those that it gave where the bundle was made.

Shapes: N images, of two shots of each person one after the other; D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

DIFFERENCE = 1e-3  # of float32: largest error of a value, relative to the root mean square of its feature
NEIGHBOURS = 10

Array = npt.NDArray[Any]


def compare(features: Array, reference: Array) -> dict[str, float]:
    """How far N×D features are from the reference.

    Returns:
        ``difference`` (see above; infinite where shapes differ), the smallest ``cosine`` of any image, and of searches
        for each person's first shot among all second ones, by either features: the mean share of the ten nearest that
        both find (``overlap10``), and how often they find the same nearest (``rank1``).
    """
    if features.shape != reference.shape:
        return {"difference": float("inf"), "cosine": -1.0, "overlap10": 0.0, "rank1": 0.0}
    computed, expected = features.astype(np.float64), reference.astype(np.float64)
    tiny = np.finfo(np.float64).tiny  # squares of single precision never overflow or vanish in double
    scale = np.maximum(np.sqrt(np.square(expected).mean(axis=1)), tiny)
    lengths = np.maximum(np.linalg.norm(computed, axis=1) * np.linalg.norm(expected, axis=1), tiny)
    return {
        "difference": float((np.abs(computed - expected).max(axis=1) / scale).max()),
        "cosine": float(((computed * expected).sum(axis=1) / lengths).min()),
        **_agreement(_ranking(computed), _ranking(expected)),
    }


def _ranking(features: Array) -> Array:
    """Second shots by falling cosine to each first shot: rows of positions."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(np.argsort(-(unit[0::2] @ unit[1::2].T), axis=1, kind="stable"))


def _agreement(one: Array, other: Array) -> dict[str, float]:
    nearest = min(NEIGHBOURS, one.shape[1])
    shared = [len(np.intersect1d(*rows)) / nearest for rows in zip(one[:, :nearest], other[:, :nearest])]
    return {"overlap10": float(np.mean(shared)), "rank1": float((one[:, 0] == other[:, 0]).mean())}


def fault(precision: str, compared: Mapping[str, float], limits: Mapping[str, float]) -> str | None:
    """What is wrong with features of a file of that precision; None where they may be used. Not a number is wrong.

    Args:
        precision: of the file. Float32 is held to ``DIFFERENCE``.
        compared: as ``compare`` returns it.
        limits: lowest ``cosine`` and ``overlap10`` of int8, as the bundle's maker set them.
    """
    if precision == "int8":
        low = [key for key in ("cosine", "overlap10") if not compared[key] >= limits[key]]
        below = " and ".join(f"{key} {compared[key]:.4f}, below {limits[key]:g}" for key in low)
        return f"features differ from the stored references: {below}" if low else None
    if compared["difference"] <= DIFFERENCE:
        return None
    return (
        f"features differ from the stored references by {compared['difference']:.1e} (relative to their root mean "
        f"square), more than {DIFFERENCE:.0e}; cosine {compared['cosine']:.4f}"
    )
