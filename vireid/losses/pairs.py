"""Alignment of the visible and infrared rows of a training batch: what the cross-modal terms compare row by row."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vireid.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of a batch of 2n images, sorted by modality; row k of either half is of the same identity.

    Each half lists P identities one after the other, ``per_identity`` (K/2) rows each, so n = P·K/2.
    """

    order: Tensor  # 2n, int64: the n visible rows, then the n infrared rows
    labels: Tensor  # n, int64: identity of row k of either half
    per_identity: int

    def align(self, rows: Tensor) -> Tensor:
        """Reorder a tensor of 2n rows: visible rows first, then infrared rows."""
        return rows.index_select(0, self.order)


def pair_rows(labels: Tensor, infrared: Tensor) -> Pairs:
    """Align the rows of a batch.

    Args:
        labels: B, int64, identity of each row; the rows of an identity are neighbours.
        infrared: B, bool; the other rows are visible. Their order within an identity is free.

    Raises:
        UserError: unless every identity has the same number of rows in both modalities, in one block.
    """
    if len(labels) == 0:
        raise UserError("the batch is empty: the cross-modal losses need P identities of K images each")
    order = torch.argsort(infrared.to(torch.int8), stable=True)
    visible_count = len(labels) - int(infrared.sum())
    aligned = labels.index_select(0, order)
    visible, other = aligned[:visible_count], aligned[visible_count:]
    if len(visible) != len(other) or not torch.equal(visible, other):
        raise UserError(
            f"the batch has {len(visible)} visible and {len(other)} infrared rows whose identities do not pair up: the "
            "cross-modal losses need K/2 visible and K/2 infrared images of every identity (use the identity-balanced "
            "cross-modal sampler)"
        )
    identities, counts = torch.unique_consecutive(visible, return_counts=True)
    sizes = counts.tolist()
    if len(set(sizes)) != 1 or len(torch.unique(identities)) != len(identities):
        raise UserError(
            f"the identities of the batch come in blocks of {sizes} images per modality: the cross-modal losses need "
            "every identity once, in one block, with the same number of images (use the identity-balanced sampler)"
        )
    return Pairs(order=order, labels=visible, per_identity=sizes[0])
