"""Distillation of a teacher into a student: what both say of a batch, as features, as relations, as logits.

Relations and logits are compared by the alignment terms of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708), TGSA and
CSA, with the teacher in the place of the specific branch. The teacher never gets a gradient.
"""

import torch
from torch import Tensor, nn

from vireid.losses.choices import FeatureLoss
from vireid.losses.csa import csa1, csa2
from vireid.losses.numeric import euclidean, full_precision
from vireid.losses.pull import feature_pull
from vireid.losses.tgsa import tgsa_inter


def feature_distillation(student: Tensor, teacher: Tensor, kind: FeatureLoss = "cosine") -> Tensor:
    """Distance of the student's projected feature from the teacher's (both B×D): mean over rows.

    ``cosine``: 1 − cos, blind to length, as retrieval is. ``mse``: squared difference, averaged over dimensions too.
    """
    if kind == "mse":
        return feature_pull(student, teacher)
    return (
        1 - nn.functional.cosine_similarity(full_precision(student), full_precision(teacher).detach(), dim=1)
    ).mean()


def relation_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """TGSA between two networks: KL2 of the graphs of distances within V, within I, and in both cross graphs, added up.

    Features are L2-normalised first, because two networks of unlike width have distances of unlike size; distances
    are therefore at most 2, and the temperature says how sharp their softmax is.

    Args:
        student: 2n×D, n visible rows first, then n infrared rows aligned with them by identity.
        teacher: 2n×D′, the same rows.
        temperature: divides the distances.
    """
    ours, theirs = (_distances(x) / temperature for x in (student, teacher.detach()))
    n = len(student) // 2
    half = (n + 1) // 2
    # X of TGSA holds the first half of V and of I; here the other halves make a second one, so that no row is left out.
    rows = torch.arange(2 * n, device=student.device)
    mixed = torch.cat([rows[:half], rows[n : n + n - half], rows[half:n], rows[n + n - half :]])
    inter = tgsa_inter(ours, theirs)
    cross = tgsa_inter(ours[mixed][:, mixed], theirs[mixed][:, mixed])
    return torch.stack([*inter.values(), *cross.values()]).sum()


def logit_distillation(student: Tensor, teacher: Tensor, temperature: float, per_identity: int | None = None) -> Tensor:
    """CSA between two networks: KL2 of their logits, visible plus infrared, times the temperature's square.

    The factor keeps the size of the gradient independent of the temperature (Hinton et al., 2015, arXiv 1503.02531).

    Args:
        student: 2n×C, n visible rows first, then n infrared rows; identity by identity.
        teacher: 2n×C, the same rows.
        temperature: divides the logits.
        per_identity: K/2, for CSA-2, one softmax over the classes of all identities; None for CSA-1, row by row.
    """
    pairs = zip((student / temperature).chunk(2), (teacher.detach() / temperature).chunk(2), strict=True)
    terms = [csa1(a, b) if per_identity is None else csa2(a, b, per_identity) for a, b in pairs]
    return temperature**2 * torch.stack(terms).sum()


def _distances(features: Tensor) -> Tensor:
    return euclidean(nn.functional.normalize(full_precision(features), dim=1))
