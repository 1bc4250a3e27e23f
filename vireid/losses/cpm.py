"""Losses on the embeddings that DEEN expands (Zhang and Wang, CVPR 2023): CPM and orthogonality."""

import torch
from torch import Tensor

from vireid.losses.numeric import euclidean, full_precision


def centre_pairs(
    visible: Tensor, infrared: Tensor, more_visible: Tensor, more_infrared: Tensor, per_identity: int, margin: float
) -> Tensor:
    """Centre-guided pair mining (CPM): a modality's centre and the *expanded* centre of the other come together.

    With centres 1 = V, 2 = I, 3 = V expanded, 4 = I expanded of each identity, d their Euclidean distances and
    h(a, b) = relu(a − b + margin), the mean over identities of half the sum of

    - h(d23, sg d13) + ½·[h(d23, d33 to the nearest other identity) + h(d23, d11 to the nearest other identity)],
    - the same with 1 and 2, 3 and 4 changing places,

    sg a stop-gradient: the distance between a feature and its own expansion is a bound and is not pushed itself.

    Args:
        visible: n×D features, identity by identity, ``per_identity`` rows each; un-normalised.
        infrared: n×D, aligned with ``visible``.
        more_visible: n×D, one expanded embedding of the visible rows.
        more_infrared: n×D, the same of the infrared rows.
        per_identity: rows of an identity in one modality.
        margin: in units of the distance.
    """
    rows = torch.stack([full_precision(part) for part in (visible, infrared, more_visible, more_infrared)])
    centres = rows.view(4, -1, per_identity, rows.shape[2]).mean(dim=2)  # 4×P×D
    return (_half(*centres[[0, 1, 2]].unbind(), margin) + _half(*centres[[1, 0, 3]].unbind(), margin)) / 2


def _half(own: Tensor, other: Tensor, expanded: Tensor, margin: float) -> Tensor:
    """One of the two halves, from P×D centres of a modality, of the other one, and of the first one expanded."""
    count = len(own)
    distances = euclidean(torch.cat([own, other, expanded])).view(3, count, 3, count)
    pulled = distances[1, :, 2].diagonal()
    bound = distances[0, :, 2].diagonal().detach()
    itself = torch.eye(count, dtype=torch.bool, device=own.device)
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
