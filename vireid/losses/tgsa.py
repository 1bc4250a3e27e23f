"""Triplet graph structure alignment (TGSA) of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708).

The graphs of distances within and across modalities should agree. The positive distances are the logits: no negation
and no temperature.
"""

import torch
from torch import Tensor, nn

from vireid.losses.numeric import symmetric_kl


def _graph(distances: Tensor) -> Tensor:
    """Row-wise log-softmax of a distance matrix (n×n) with each row's diagonal entry removed (n×(n−1))."""
    n = distances.shape[0]
    off_diagonal = distances.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
    return nn.functional.log_softmax(off_diagonal, dim=1)


def tgsa_intra(distances: Tensor, cross: bool = True) -> dict[str, Tensor]:
    """Agreement of the graphs within V, within I and within X, of one feature.

    Args:
        distances: 2n×2n, n visible rows first, then n infrared rows aligned with them by identity.
        cross: whether X takes part.

    Returns:
        KL2 of the three pairs of graphs: ``vi``, ``vx``, ``xi``, or of the first alone. X holds the first half of the
        visible rows (the larger one if n is odd) and then the first half of the infrared rows.
    """
    n = distances.shape[0] // 2
    v, i = _graph(distances[:n, :n]), _graph(distances[n:, n:])
    if not cross:
        return {"vi": symmetric_kl(v, i)}
    half = (n + 1) // 2
    rest = n + n - half
    over_columns = torch.cat([distances[:, :half], distances[:, n:rest]], dim=1)
    x = _graph(torch.cat([over_columns[:half], over_columns[n:rest]]))
    return {"vi": symmetric_kl(v, i), "vx": symmetric_kl(v, x), "xi": symmetric_kl(x, i)}


def tgsa_inter(shared: Tensor, specific: Tensor) -> dict[str, Tensor]:
    """Agreement of the graphs of the shared and the specific feature: KL2 within ``visible``, within ``infrared``.

    Args:
        shared: 2n×2n distances, visible rows first.
        specific: 2n×2n distances of the same rows.
    """
    n = shared.shape[0] // 2
    return {
        "visible": symmetric_kl(_graph(shared[:n, :n]), _graph(specific[:n, :n])),
        "infrared": symmetric_kl(_graph(shared[n:, n:]), _graph(specific[n:, n:])),
    }
