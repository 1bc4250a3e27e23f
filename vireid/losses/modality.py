"""Labels of IDKL's modality discriminators (Ren & Zhang, CVPR 2024): the true ones and the pseudo ones."""

from __future__ import annotations

import torch
from torch import Tensor

from vireid.losses.pairs import Pairs


def modality_labels(pairs: Pairs) -> Tensor:
    """True modality of the aligned rows (2n): 0 for the visible half, 1 for the infrared half."""
    return (torch.arange(len(pairs.order), device=pairs.order.device) >= len(pairs.labels)).long()


def pseudo_modality_labels(pairs: Pairs) -> Tensor:
    """Pseudo modality of the aligned rows (2n): balanced, and independent of the true modality.

    Row k of the visible half gets k mod 2, row k of the infrared half the opposite. Both labels are then equally
    frequent within each modality (up to one row), so a shared feature trained towards them cannot gain from carrying
    the modality. On batches that alternate infrared, visible this equals the released code's labels; unlike that
    code's roll of neighbouring rows it stays balanced for every other order of the rows.
    """
    k = torch.arange(len(pairs.labels), device=pairs.order.device)
    return torch.cat([k % 2, (k + 1) % 2])
