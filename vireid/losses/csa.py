"""Class semantic alignment (CSA) of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

The logits should agree across modalities (intra) and across the shared and the specific branch (inter).
"""

from torch import Tensor

from vireid.losses.numeric import kl2


def csa1(a: Tensor, b: Tensor) -> Tensor:
    """KL2 of the logits of row k in ``a`` and row k in ``b`` (both n×C)."""
    return kl2(a, b)


def csa2(a: Tensor, b: Tensor, per_identity: int) -> Tensor:
    """KL2 after the rows are joined along the class axis: one softmax over the P·C columns of a row.

    Args:
        a: n×C logits of one modality, identity by identity, ``per_identity`` rows each (n = P·K/2).
        b: n×C logits, aligned with ``a``.
        per_identity: K/2. Row j of the joined logits holds the j-th sample of every identity.
    """
    return kl2(_join_identities(a, per_identity), _join_identities(b, per_identity))


def _join_identities(logits: Tensor, per_identity: int) -> Tensor:
    """(P·K/2)×C → K/2×(P·C)."""
    return logits.reshape(-1, per_identity, logits.shape[1]).transpose(0, 1).flatten(1)
