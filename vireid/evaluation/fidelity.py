"""How near the features of a deployed file are to those of the model it was made from.

Shapes: N images, D feature width.
"""

from dataclasses import dataclass

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray, Modality
from vireid.evaluation.neighbours import nearest

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Both are 1 where nothing changed."""

    cosine: float  # mean over images of the cosine between an image's two features
    overlap10: float  # mean over infrared queries: share of the ten nearest visible images that both features agree on


def fidelity(features: FloatArray, reference: FloatArray, modality: IntArray) -> Fidelity:
    """Compare features (N×D) with reference features of the same images; ``modality`` has N values of ``Modality``.

    Neighbours are by cosine among all visible images, ties by their order; with fewer than ten, all are neighbours.

    Raises:
        UserError: shapes that differ, or images of one modality alone.
    """
    if features.shape != reference.shape or len(modality) != len(features):
        raise UserError(
            f"features {features.shape}, reference {reference.shape} and {len(modality)} modalities: not of the same "
            "images"
        )
    ours, theirs = _unit(features), _unit(reference)
    infrared, visible = modality == int(Modality.INFRARED), modality == int(Modality.VISIBLE)
    if not infrared.any() or not visible.any():
        raise UserError("neighbours across modalities need visible and infrared images; one of them is missing")
    k = min(NEIGHBOURS, int(visible.sum()))
    found, expected = (nearest(-(unit[infrared] @ unit[visible].T), k) for unit in (ours, theirs))
    shared = [len(np.intersect1d(one, other)) / k for one, other in zip(found, expected, strict=True)]
    return Fidelity(float((ours * theirs).sum(axis=1).mean()), float(np.mean(shared)))


def _unit(features: FloatArray) -> FloatArray:
    wide = np.asarray(features, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny))
