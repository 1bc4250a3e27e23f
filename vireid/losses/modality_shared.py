"""Modality-shared enhancement loss of PMT (Lu et al., AAAI 2023), Euclidean and un-normalised."""

import torch
from torch import Tensor


def modality_shared_enhancement(distances: Tensor, labels: Tensor, infrared: Tensor) -> Tensor:
    """An image is to be as far from its identity in the other modality as in its own.

    Mean over anchors of (c − s)², c the mean distance to the rows of the anchor's identity in the other modality, s
    that to the other rows of its identity in its own; half of each modality's mean.

    Args:
        distances: B×B, as of ``vireid.losses.numeric.euclidean``.
        labels: B, identities. An anchor that is alone in its modality, or without rows in the other, counts 0.
        infrared: B, boolean.
    """
    same = labels[:, None] == labels[None, :]
    own = infrared[:, None] == infrared[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    within, across = same & own & ~itself, same & ~own
    difference = _mean(distances, across) - _mean(distances, within)
    squares = difference.square() * (within.any(dim=1) & across.any(dim=1))
    halves = [(squares * rows).sum() / rows.sum().clamp(min=1) for rows in (infrared, ~infrared)]
    return (halves[0] + halves[1]) / 2


def _mean(distances: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row over ``mask``, 0 where that is empty: B×B → B."""
    return distances.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
