"""Prototypes: the mean feature of every class in every group, held in buffers so that a checkpoint has them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Prototypes(nn.Module):
    """Means of G groups × C classes × D dimensions, and which of them exist."""

    means: Tensor
    known: Tensor

    def __init__(self, groups: int, classes: int, features: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(groups, classes, features))
        self.register_buffer("known", torch.zeros(groups, classes, dtype=torch.bool))

    @torch.no_grad()
    def update(self, rows: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Replace the means by those over ``rows``: pieces of features (n×D), labels (n) and groups (n).

        A class that has no row in a group keeps what it had there.
        """
        groups, classes, features = self.means.shape
        sums = torch.zeros_like(self.means).view(groups * classes, features)
        counts = torch.zeros(groups * classes, device=self.means.device)
        for feature, label, group in rows:
            place = group * classes + label
            sums.index_add_(0, place, feature.to(sums.dtype))
            counts.index_add_(0, place, torch.ones_like(label, dtype=counts.dtype))
        seen = counts > 0
        means = (sums / counts.clamp(min=1)[:, None]).view_as(self.means)
        self.means.copy_(torch.where(seen.view(groups, classes, 1), means, self.means))
        self.known.logical_or_(seen.view(groups, classes))
