"""Cross-entropy over classes: the identity term, and the modality term of a two-way head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vireid.losses.numeric import full_precision


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (B×C) against labels (B), with label smoothing (Szegedy et al., CVPR 2016).

    The target is (1−ε) on the true class plus ε/C on every class, with C the class count of *this* head.
    """
    return F.cross_entropy(full_precision(logits), labels, label_smoothing=smoothing)
