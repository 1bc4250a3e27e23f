"""Labels of IDKL's modality discriminators (Ren & Zhang, CVPR 2024): the true ones and the pseudo ones."""

import torch
from torch import Tensor

from vireid.losses.choices import PseudoLabels
from vireid.losses.pairs import Pairs


def modality_labels(pairs: Pairs) -> Tensor:
    """True modality of the aligned rows (2n): 0 for the visible half, 1 for the infrared half."""
    return (torch.arange(len(pairs.order), device=pairs.order.device) >= len(pairs.labels)).long()


def pseudo_modality_labels(pairs: Pairs, kind: PseudoLabels = "balanced") -> Tensor:
    """Pseudo modality of the aligned rows (2n).

    - ``balanced``: row k of the visible half gets k mod 2, row k of the infrared half the opposite. Both labels are
      then equally frequent within each modality (up to one row), so a shared feature trained towards them cannot gain
      from carrying the modality.
    - ``released``: every modality label of the first half of the batch twice, rolled by −1, as the rows came. On
      batches that alternate infrared, visible this is ``balanced`` (if n is odd, but for the last row); on other orders
      it is not balanced.
    - ``visible``: 0 everywhere, which is ``released`` for batches whose visible rows all come first, as the fork's do.
    """
    n, device = len(pairs.labels), pairs.order.device
    if kind == "balanced":
        k = torch.arange(n, device=device)
        return torch.cat([k % 2, (k + 1) % 2])
    labels = torch.zeros(2 * n, dtype=torch.long, device=device)
    if kind == "visible":
        return labels
    as_given = labels.index_fill(0, pairs.order[n:], 1)
    return pairs.align(as_given[:n].repeat_interleave(2).roll(-1))
