"""Scorers turn features into similarities (larger is more alike); protocols name the one that they rank by.

On CPUs torch multiplies float32 matrices with MKL, which on AMD processors runs at about half the rate of oneDNN (190
against 400 GFLOP/s on two Zen 5 cores). The operator that PyTorch's compiler emits for linear layers reaches oneDNN;
both accumulate in float32. Where it is missing, and for other types and devices, torch's own path is taken.

Shapes: M and N features of width D.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

ONE_DNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
TILE = 1024  # rows of a symmetric product computed at once


class Multiplied:
    """The N features of one side, for products with many blocks of the other."""

    def __init__(self, features: Tensor) -> None:
        self._features = features.detach().contiguous()

    def __len__(self) -> int:
        return int(self._features.shape[0])

    def inner(self, first: Tensor) -> Tensor:
        """Inner products (M×N) with M×D features of the same type and device."""
        return self._product(first.detach(), None)

    def squared_distances(self, first: Tensor) -> Tensor:
        """Squared Euclidean distances (M×N, at least 0) to M×D features of the same type and device."""
        first = first.detach()
        lengths = first.square().sum(1, keepdim=True)
        return self._product(first * -2.0, self._lengths).add_(lengths).clamp_(min=0.0)

    def _product(self, first: Tensor, bias: Tensor | None) -> Tensor:
        if ONE_DNN is not None and first.device.type == "cpu" and first.dtype == torch.float32 and len(first):
            product: Tensor = ONE_DNN(first.contiguous(), self._features, bias, "none", [], "")
            return product
        return nn.functional.linear(first, self._features, bias)

    @cached_property
    def _lengths(self) -> Tensor:
        return self._features.square().sum(1)


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Inner products (M×N) of M×D and N×D features of one type and device."""
    return Multiplied(second).inner(first)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances (M×N, at least 0) of M×D and N×D features of one type and device."""
    return Multiplied(second).squared_distances(first)


def distances_within(features: Tensor) -> Tensor:
    """Squared Euclidean distances (N×N) among N×D features, zero to itself; little more than half the work."""
    count = len(features)
    distances = features.new_empty((count, count))
    for start in range(0, count, TILE):
        end = min(start + TILE, count)
        tile = squared_distances(features[start:end], features[start:])
        distances[start:end, start:] = tile
        distances[end:, start:end] = tile[:, end - start :].T
    return distances.fill_diagonal_(0.0)


def unit(features: Tensor) -> Tensor:
    """Finite features (N×D) divided by their Euclidean lengths, whatever their scale; a zero feature stays zero."""
    return unit_(features.detach().clone())


def unit_(features: Tensor) -> Tensor:
    """The same in place."""
    lengths = features.norm(dim=1, keepdim=True)
    extreme = squares_lost(lengths[:, 0])
    if bool(extreme.any()):  # divided by their largest value first, they have squares
        rows = features[extreme]
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows.div_(torch.where(largest > 0, largest, 1.0))
        features[extreme], lengths[extreme] = rows, rows.norm(dim=1, keepdim=True)
    return features.div_(torch.where(lengths > 0, lengths, 1.0))


def squares_lost(lengths: Tensor) -> Tensor:
    """Whether features are so long or so short that their type cannot hold squared distances among them.

    Args:
        lengths: Euclidean, infinite where they overflowed.
    """
    kind = torch.finfo(lengths.dtype)
    return torch.logical_or(lengths > (kind.max / 8) ** 0.5, lengths < (kind.tiny / kind.eps) ** 0.5)


def _zero(features: Tensor) -> Tensor:
    zero: Tensor = (
        features.norm(dim=1) == 0
    )  # in a sixth of the time of ``any``; the squares of what is very short vanish, too
    return zero & ~features.any(dim=1) if bool(zero.any()) else zero


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


cosine = Scorer(
    unit_,
    inner,
    _zero,
    "zero throughout and so without a direction; extract again, or leave the images out",
)
negative_squared_euclidean = Scorer(
    lambda features: features,
    lambda query, gallery: squared_distances(query, gallery).neg_(),
    lambda features: squares_lost(features.norm(dim=1)) & features.any(dim=1),
    "too long or too short for squared distances in their type; scale all features by one number, write float64, or "
    "normalise them",
)

SCORERS: Mapping[str, Scorer] = {"cosine": cosine, "negative squared Euclidean": negative_squared_euclidean}


def modality_ensemble(features: Iterable[Tensor]) -> Tensor:
    """One query feature for the sum of the cosines of several: Q×D each → Q×D.

    With unit features p̂ₖ and a unit gallery feature ĝ, Σₖ cos(pₖ, g) = (Σₖ p̂ₖ)·ĝ. The cosine of the sum itself divides
    this by the sum's length, which is one number for a query's whole gallery, so that the ranking stays.
    """
    first, *others = (unit(part.float()) for part in features)
    for other in others:
        first = first + other
    return first
