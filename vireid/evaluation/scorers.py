"""Scorers turn features into similarities (larger is more alike); protocols name the one that they rank by."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vireid.evaluation.products import inner, squared_distances, squares_lost, unit, unit_


@dataclass(frozen=True, slots=True)
class Scorer:
    """``prepare`` is done once per image (N×D, in place), ``compare`` gives similarities of prepared features (Q×G).

    ``unusable`` marks raw features that cannot be compared so (N×D → N), and ``fault`` says what is wrong with them and
    what to do: compared all the same, they would tie with every image.
    """

    prepare: Callable[[Tensor], Tensor]
    compare: Callable[[Tensor, Tensor], Tensor]
    unusable: Callable[[Tensor], Tensor]
    fault: str

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


def _without_direction(features: Tensor) -> Tensor:
    return ~features.any(dim=1)


def _without_squares(features: Tensor) -> Tensor:
    return squares_lost(features.norm(dim=1)) & features.any(dim=1)


cosine = Scorer(
    unit_,
    inner,
    _without_direction,
    "zero throughout and so without a direction; extract again, or leave the images out",
)
negative_squared_euclidean = Scorer(
    _as_is,
    _negative,
    _without_squares,
    "too long or too short for squared distances in their type; scale all features by one number, write float64, or "
    "normalise them",
)

SCORERS: Mapping[str, Scorer] = {"cosine": cosine, "negative squared Euclidean": negative_squared_euclidean}


def modality_ensemble(parts: Iterable[Tensor]) -> Tensor:
    """One query feature for the sum of the cosines of several: Q×D each → Q×D.

    With unit features p̂ₖ and a unit gallery feature ĝ, Σₖ cos(pₖ, g) = (Σₖ p̂ₖ)·ĝ. The cosine of the sum itself divides
    this by the sum's length, which is one number for a query's whole gallery, so that the ranking stays.
    """
    first, *others = (unit(part.float()) for part in parts)
    for other in others:
        first = first + other
    return first
