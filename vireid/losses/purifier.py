"""Information purifier terms of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

Purified features should be no less certain of the identity, and their modality centroids no farther apart.
"""

import torch
from torch import Tensor, nn

from vireid.losses.numeric import full_precision


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the softmax of each row (B×C → B)."""
    log_p = nn.functional.log_softmax(full_precision(logits), dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def purifier_entropy(raw_logits: Tensor, purified_logits: Tensor) -> Tensor:
    """Mean over rows of exp(relu(H(purified) − H(raw))) − 1, from logits of one classifier (both B×C)."""
    return torch.expm1(torch.relu(entropy(purified_logits) - entropy(raw_logits))).mean()


def centroid_gaps(visible: Tensor, infrared: Tensor, per_identity: int) -> Tensor:
    """Distance between the modality centroids of each identity.

    Args:
        visible: n×D, identity by identity, ``per_identity`` rows each.
        infrared: n×D, aligned with ``visible``.
        per_identity: K/2, rows of an identity in one modality.

    Returns:
        n/per_identity distances. Where both centroids coincide the gradient is zero.
    """
    difference = full_precision(visible) - full_precision(infrared)
    centroids = difference.reshape(-1, per_identity, difference.shape[1]).mean(dim=1)
    gaps: Tensor = torch.linalg.vector_norm(centroids, dim=1)
    return gaps


def purifier_centroid(gaps: Tensor, purified_gaps: Tensor) -> Tensor:
    """Mean over identities of relu(gap of the purified features − gap of the features)."""
    return torch.relu(purified_gaps - gaps).mean()
