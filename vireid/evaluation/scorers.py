"""Scorers turn features into similarities (larger is more alike); protocols name the one that they rank by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vireid.evaluation.products import inner, squared_distances, unit_


@dataclass(frozen=True, slots=True)
class Scorer:
    """``prepare`` is done once per image (N×D, in place), ``compare`` gives similarities of prepared features (Q×G)."""

    prepare: Callable[[Tensor], Tensor]
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, query: Tensor, gallery: Tensor) -> Tensor:
        """Similarities (Q×G) of Q×D and G×D features."""
        return self.compare(self.prepare(query.detach().clone()), self.prepare(gallery.detach().clone()))


def squared_euclidean(query: Tensor, gallery: Tensor) -> Tensor:
    """Squared Euclidean distance (Q×G, at least 0) of Q×D and G×D features."""
    return squared_distances(query, gallery)


def _as_is(features: Tensor) -> Tensor:
    return features


def _negative(query: Tensor, gallery: Tensor) -> Tensor:
    return squared_distances(query, gallery).neg_()


cosine = Scorer(unit_, inner)
negative_squared_euclidean = Scorer(_as_is, _negative)

SCORERS: Mapping[str, Scorer] = {"cosine": cosine, "negative squared Euclidean": negative_squared_euclidean}
