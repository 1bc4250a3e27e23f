"""Batch-hard triplet loss (Hermans et al., 2017), Euclidean and un-normalised."""

import torch
from torch import Tensor


def batch_hard_triplet(distances: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean over anchors of relu(margin + farthest positive − nearest negative).

    Args:
        distances: B×B, as of ``vireid.losses.numeric.euclidean``; taken ready-made because TGSA uses them too.
        labels: B, identities. An anchor without a negative contributes nothing.
        margin: in units of the distance.
    """
    same = labels[:, None] == labels[None, :]
    positive = distances.masked_fill(~same, 0.0).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return torch.relu(margin + positive - negative).mean()
