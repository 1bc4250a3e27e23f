"""Weighted regularised triplet loss of AGW (Ye et al., TPAMI 2021, arXiv 2001.04193): no margin, no mining."""

import math

import torch
from torch import Tensor, nn


def weighted_triplet(
    distances: Tensor, labels: Tensor, *, self_positive: bool = False, null_weight: float = 0.0
) -> Tensor:
    """Mean over anchors of softplus(Σ wᵖ·dᵖ − Σ wⁿ·dⁿ) with wᵖ = softmax(dᵖ) and wⁿ = softmax(−dⁿ) of each anchor.

    Args:
        distances: B×B, Euclidean, un-normalised; as of ``vireid.losses.numeric.euclidean``.
        labels: B, identities. An anchor without positives or without negatives has 0 in place of the missing sum.
        self_positive: whether an anchor counts as a positive of itself, as in the released code.
        null_weight: ε that the released code (1e-6) adds to its softmax's denominator after subtracting the row's
            largest entry, where entries outside the mask are 0. The negatives' weights exp(−d)/(Σ exp(−d) + ε)
            therefore vanish once all of them are farther than about 14, and the loss then only pulls positives
            together. 0 gives the paper's softmax.
    """
    same = labels[:, None] == labels[None, :]
    positive = same if self_positive else same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = _weighted_sum(distances, positive, 1.0, null_weight)
    nearest = _weighted_sum(distances, ~same, -1.0, null_weight)
    return -nn.functional.logsigmoid(nearest - farthest).mean()  # softplus, which torch's own rounds off from 20 on


def _weighted_sum(distances: Tensor, mask: Tensor, sign: float, null_weight: float) -> Tensor:
    """Σ w·d per row over ``mask``, w = exp(sign·d) / (Σ exp(sign·d) + ε·exp(largest masked entry)): B×B → B."""
    scores = (sign * distances).masked_fill(~mask, -torch.inf)
    if null_weight > 0:
        null = (sign * distances * mask).amax(dim=1, keepdim=True) + math.log(null_weight)
        scores = torch.cat([scores, null], dim=1)
    empty = ~mask.any(dim=1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(empty, 0.0), dim=1)[:, : mask.shape[1]]
    return (weights * distances).masked_fill(~mask, 0.0).sum(dim=1)
