"""Scorers turn features into similarities (Q×G, larger is more alike); protocols name the one that they rank by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

Scorer = Callable[[Tensor, Tensor], Tensor]


def cosine(query: Tensor, gallery: Tensor) -> Tensor:
    """Cosine similarity of Q×D and G×D features."""
    return F.normalize(query, dim=1) @ F.normalize(gallery, dim=1).T


def squared_euclidean(query: Tensor, gallery: Tensor) -> Tensor:
    """Squared Euclidean distance (Q×G, at least 0) of Q×D and G×D features."""
    lengths = query.square().sum(1, keepdim=True) + gallery.square().sum(1)
    return lengths.addmm_(query, gallery.T, alpha=-2.0).clamp_(min=0.0)


def negative_squared_euclidean(query: Tensor, gallery: Tensor) -> Tensor:
    """Minus the squared Euclidean distance: ranks raw features by how near they are."""
    return squared_euclidean(query, gallery).neg_()


SCORERS: Mapping[str, Scorer] = {"cosine": cosine, "negative squared Euclidean": negative_squared_euclidean}
