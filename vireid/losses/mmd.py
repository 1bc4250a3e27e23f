"""Squared maximum mean discrepancy with several Gaussian kernels, and TSKD's mutual distillation built on it."""

import torch
from torch import Tensor

from vireid.losses.numeric import full_precision

KERNELS = 5  # bandwidths b/4, b/2, b, 2b, 4b


def mmd2(x: Tensor, y: Tensor) -> Tensor:
    """MMD² between two sets of vectors, biased estimator (V-statistic), for every group: G×n×D, G×m×D → G.

    The kernel is Σⱼ exp(−d²/bⱼ) with bⱼ = (b/4)·2ʲ, j = 0…4, and b the mean squared distance between different rows of
    the n + m taken together; no gradient flows into b. Squared distances come from direct differences: the form with
    inner products cancels among features of one identity.
    """
    x, y = full_precision(x), full_precision(y)
    rows = torch.cat([x, y], dim=1)
    count, n = rows.shape[1], x.shape[1]
    squared = (rows[:, :, None] - rows[:, None, :]).square().sum(dim=3)
    tiny = torch.finfo(squared.dtype).tiny  # equal rows: every kernel is 1
    bandwidth = (squared.detach().sum(dim=(1, 2), keepdim=True) / (count * count - count)).clamp(min=tiny)
    kernel = torch.stack([torch.exp(-squared / (bandwidth * 2.0 ** (j - 2))) for j in range(KERNELS)]).sum(dim=0)
    within = kernel[:, :n, :n].mean(dim=(1, 2)) + kernel[:, n:, n:].mean(dim=(1, 2))
    return within - 2 * kernel[:, :n, n:].mean(dim=(1, 2))


def mutual_distillation(visible: Tensor, infrared: Tensor) -> Tensor:
    """Mean over identities of MMD²(V, sg I) + MMD²(I, sg V), sg a stop-gradient: P×n×D, P×m×D → scalar.

    TSKD (Pattern Recognition 169, 2026). Each direction moves one modality towards the other as it stands.
    """
    return (mmd2(visible, infrared.detach()) + mmd2(infrared, visible.detach())).mean()
