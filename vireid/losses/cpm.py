"""Losses on the embeddings that DEEN expands (Zhang and Wang, CVPR 2023): CPM and orthogonality."""

import torch
from torch import Tensor

from vireid.losses.numeric import euclidean, full_precision


def centre_pairs(features: Tensor, expanded: Tensor, per_identity: int, margin: float) -> Tensor:
    """Centre-guided pair mining (CPM): a modality's centre and the *expanded* centre of the other come together.

    With centres 1 = V, 2 = I, 3 = V expanded, 4 = I expanded of each identity, d their Euclidean distances and
    h(a, b) = relu(a − b + margin), the mean over identities of half the sum of

    - h(d23, sg d13) + ½·[h(d23, d33 to the nearest other identity) + h(d23, d11 to the nearest other identity)],
    - the same with 1 and 2, 3 and 4 changing places,

    sg a stop-gradient: the distance between a feature and its own expansion is a bound and is not pushed itself.

    Args:
        features: 2n×D, n visible rows, identity by identity, ``per_identity`` rows each, then n infrared rows aligned
            with them; un-normalised.
        expanded: 2n×D, one expanded embedding of the same rows.
        per_identity: rows of an identity in one modality.
        margin: in units of the distance.
    """
    rows = full_precision(torch.cat([features, expanded]))
    centres = rows.view(4, -1, per_identity, rows.shape[1]).mean(dim=2)  # 4×P×D
    return (_half(centres[[0, 1, 2]], margin) + _half(centres[[1, 0, 3]], margin)) / 2


def _half(centres: Tensor, margin: float) -> Tensor:
    """One of the two halves, from 3×P×D centres: of a modality, of the other one, and of the first one expanded."""
    count = centres.shape[1]
    distances = euclidean(centres.flatten(0, 1)).view(3, count, 3, count)
    pulled = distances[1, :, 2].diagonal()
    bound = distances[0, :, 2].diagonal().detach()
    itself = torch.eye(count, dtype=torch.bool, device=centres.device)
    strangers = [distances[kind, :, kind].masked_fill(itself, torch.inf).amin(dim=1) for kind in (2, 0)]
    losses = torch.relu(pulled - bound + margin)
    for nearest in strangers:
        losses = losses + torch.relu(pulled - nearest + margin) / 2
    return losses.mean()


def orthogonality(first: Tensor, second: Tensor) -> Tensor:
    """Inner products of an image's two expanded embeddings (B×D each, un-normalised), summed, ÷ 3B.

    3B is the number of embeddings: the images' own count too, as in the released code. No absolute value: features
    after a ReLU have none below 0.
    """
    return (full_precision(first) * full_precision(second)).sum() / (3 * len(first))
