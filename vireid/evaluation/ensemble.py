"""Modality ensemble retrieval of TVI-LFM (Hu et al., NeurIPS 2024): a query's similarities of several kinds, added."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from vireid.evaluation.products import unit


def modality_ensemble(parts: Iterable[Tensor]) -> Tensor:
    """One query feature for the sum of the cosines of several: Q×D each → Q×D.

    With unit features p̂ₖ and a unit gallery feature ĝ, Σₖ cos(pₖ, g) = (Σₖ p̂ₖ)·ĝ. The cosine of the sum itself divides
    this by the sum's length, which is one number for a query's whole gallery, so that the ranking stays.
    """
    first, *others = (unit(part.float()) for part in parts)
    for other in others:
        first = first + other
    return first
