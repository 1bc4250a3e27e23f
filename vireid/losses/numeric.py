"""Shared arithmetic of the losses: precision, Euclidean distances, symmetric Kullback–Leibler divergence."""

import torch
from torch import Tensor, nn

_PAIRWISE_EPS = 1e-6  # added to every component of a difference, as torch.nn.functional.pairwise_distance does


def full_precision(x: Tensor) -> Tensor:
    """Return ``x`` in float32 if it is of lower precision (autocast), else unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def euclidean(features: Tensor) -> Tensor:
    """Euclidean distances between all rows (B×D → B×B), ‖x_i − x_j + 1e-6‖.

    Direct differences, not the inner-product form, whose cancellation loses small distances in float32. The offset
    keeps the gradient of equal rows finite.
    """
    x = full_precision(features)
    distances: Tensor = torch.cdist(x + _PAIRWISE_EPS, x, compute_mode="donot_use_mm_for_euclid_dist")
    return distances


def symmetric_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) + KL(q‖p) of row-wise log-probabilities (n×C), averaged over rows; equals Σ (p−q)(log p − log q) / n."""
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / log_p.shape[0]


def kl2(a: Tensor, b: Tensor) -> Tensor:
    """KL2 of IDKL: symmetric KL of the row-wise softmax of two logits (n×C), ``batchmean``; nothing detached."""
    return symmetric_kl(
        nn.functional.log_softmax(full_precision(a), dim=1), nn.functional.log_softmax(full_precision(b), dim=1)
    )
