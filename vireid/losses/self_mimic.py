"""Self-mimic loss of TSKD (Pattern Recognition 169, 2026): features stay near their identity's own prototype."""

import torch
from torch import Tensor

from vireid.losses.numeric import full_precision


def self_mimic(features: Tensor, labels: Tensor, groups: Tensor, prototypes: Tensor, known: Tensor) -> Tensor:
    """L1 distance to the prototype, averaged over the D dimensions and rows: mean of the visible views plus infrared.

    Args:
        features: B×D, before the neck.
        labels: B, identities.
        groups: B, 0…G−2 for the visible views and G−1 for infrared.
        prototypes: G×C×D; no gradient flows into them.
        known: G×C, whether a prototype exists. Rows without one are left out of the mean; a group without any counts 0.
    """
    features = full_precision(features)
    distances = (features - prototypes[groups, labels].detach()).abs().mean(dim=1)
    usable = known[groups, labels]
    means = []
    for group in range(len(prototypes)):
        mine = usable & (groups == group)
        means.append(torch.where(mine, distances, 0.0).sum() / mine.sum().clamp(min=1))
    return torch.stack(means[:-1]).mean() + means[-1]
