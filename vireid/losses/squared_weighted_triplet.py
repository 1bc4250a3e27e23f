"""Squared weighted triplet of CAJ (Ye et al., ICCV 2021): AGW's weighted sums, their difference squared."""

import torch
from torch import Tensor, nn

from vireid.losses.weighted_triplet import _weighted_sum

CLAMP = 88.0  # of the released code: exp(88) is nearly the largest number of float32
NULL_WEIGHT = 1e-6


def squared_weighted_triplet(distances: Tensor, labels: Tensor, *, released: bool = False) -> Tensor:
    """Mean over anchors of softplus(s·(p − n)²), p = Σ wᵖ·dᵖ, n = Σ wⁿ·dⁿ and s the sign of p − n.

    Weights are AGW's, wᵖ = softmax(dᵖ) and wⁿ = softmax(−dⁿ) of each anchor.

    Args:
        distances: B×B, Euclidean, un-normalised; as of ``vireid.losses.numeric.euclidean``.
        labels: B, identities. An anchor without positives or without negatives has 0 in place of the missing sum.
        released: as the released code has it: an anchor is one of its own positives; 1e-6 in the softmax's denominators
            lets negatives drop out once all of them are farther than about 14; and (p − n)² ends at 88, so that a row
            with |p − n| above 9.4, where the loss would pull most, has no gradient.
    """
    same = labels[:, None] == labels[None, :]
    positive = same if released else same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    null_weight = NULL_WEIGHT if released else 0.0
    farthest = _weighted_sum(distances, positive, 1.0, null_weight)
    nearest = _weighted_sum(distances, ~same, -1.0, null_weight)
    squared = (farthest - nearest).square()
    if released:
        squared = squared.clamp(max=CLAMP)
    signed = torch.where(farthest > nearest, squared, -squared)
    return -nn.functional.logsigmoid(-signed).mean()  # softplus, which torch's own rounds off from 20 on
