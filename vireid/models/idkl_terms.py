"""The loss terms of IDKL, unweighted, computed on demand from a model output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor

from vireid.core.types import ModelOutput
from vireid.losses.csa import csa1, csa2
from vireid.losses.identity import cross_entropy
from vireid.losses.modality import modality_labels, pseudo_modality_labels
from vireid.losses.numeric import euclidean, kl2
from vireid.losses.pairs import Pairs
from vireid.losses.purifier import centroid_gaps, purifier_centroid, purifier_entropy
from vireid.losses.tgsa import tgsa_inter, tgsa_intra
from vireid.losses.triplet import batch_hard_triplet

# Ren & Zhang, CVPR 2024, as released for a batch of 120; here they hold for every batch size.
RELEASED_WEIGHTS: dict[str, float] = {
    "id_shared": 1.0,
    "id_specific": 1.0,
    "triplet_shared": 1.0,
    "triplet_specific": 1.0,
    "modality": 1.0,
    "pseudo_modality": 1.0,
    "purifier": 0.1,
    "tgsa_intra": 1.0,
    "tgsa_inter": 0.6,
    "csa1_intra": 1.0,
    "csa1_inter": 0.8,
    "csa2_intra": 1.0,
    "csa2_inter": 0.8,
}
# The identity term of the attended feature counts as every other identity term; the pull of the plain shared logits
# towards the attended ones has the weight that the fork (quocnhut134/IDKL) gives to its attention term.
GUIDANCE_WEIGHTS: dict[str, float] = {"guidance_id": 1.0, "guidance_kl": 0.2}

SPECIFIC_TERMS = frozenset(
    {"id_specific", "triplet_specific", "modality", "purifier", "tgsa_inter", "csa1_inter", "csa2_inter"}
) | frozenset(GUIDANCE_WEIGHTS)

# Names of the logits that a term reads: a head exists only where an active term trains it.
LOGITS_OF: dict[str, tuple[str, ...]] = {
    "id_shared": ("shared",),
    "id_specific": ("specific",),
    "modality": ("modality",),
    "pseudo_modality": ("pseudo_modality",),
    "purifier": ("raw", "purified"),
    "csa1_intra": ("shared",),
    "csa1_inter": ("shared", "specific"),
    "csa2_intra": ("shared",),
    "csa2_inter": ("shared", "specific"),
    "guidance_id": ("guided",),
    "guidance_kl": ("shared", "guided"),
}


def idkl_terms(
    names: Iterable[str], output: ModelOutput, pairs: Pairs, *, margin: float, label_smoothing: float
) -> dict[str, Tensor]:
    """Compute the named terms; what several of them need (distances, aligned rows) is computed once.

    Args:
        names: keys of ``RELEASED_WEIGHTS`` or ``GUIDANCE_WEIGHTS``.
        output: of ``IDKL.forward``, rows in batch order.
        pairs: alignment of the batch's rows.
        margin: of both triplet terms, in units of the un-normalised distance.
        label_smoothing: of the identity terms; the two-way modality terms have none.
    """
    labels = torch.cat([pairs.labels, pairs.labels])
    per_identity = pairs.per_identity

    @cache
    def logits(name: str) -> Tensor:
        return pairs.align(output.logits[name])

    @cache
    def halves(name: str) -> tuple[Tensor, Tensor]:
        visible, infrared = logits(name).chunk(2)
        return visible, infrared

    @cache
    def distances(name: str) -> Tensor:
        return euclidean(pairs.align(output.features[name]))

    def gaps(name: str) -> Tensor:
        visible, infrared = pairs.align(output.features[name]).chunk(2)
        return centroid_gaps(visible, infrared, per_identity)

    def identity(name: str) -> Tensor:
        return cross_entropy(logits(name), labels, label_smoothing)

    def triplet(name: str) -> Tensor:
        return batch_hard_triplet(distances(name), labels, margin)

    def purifier() -> Tensor:
        uncertainty = purifier_entropy(logits("raw"), logits("purified"))
        return uncertainty + purifier_centroid(gaps("normed"), gaps("normed_purified"))

    def csa1_inter() -> Tensor:
        return csa1(halves("shared")[0], halves("specific")[0]) + csa1(halves("shared")[1], halves("specific")[1])

    def csa2_inter() -> Tensor:
        (shared_v, shared_i), (specific_v, specific_i) = halves("shared"), halves("specific")
        return csa2(shared_v, specific_v, per_identity) + csa2(shared_i, specific_i, per_identity)

    table: dict[str, Callable[[], Tensor]] = {
        "id_shared": lambda: identity("shared"),
        "id_specific": lambda: identity("specific"),
        "triplet_shared": lambda: triplet("shared"),
        "triplet_specific": lambda: triplet("specific"),
        "modality": lambda: cross_entropy(logits("modality"), modality_labels(pairs)),
        "pseudo_modality": lambda: cross_entropy(logits("pseudo_modality"), pseudo_modality_labels(pairs)),
        "purifier": purifier,
        "tgsa_intra": lambda: torch.stack(list(tgsa_intra(distances("shared")).values())).sum(),
        "tgsa_inter": lambda: torch.stack(list(tgsa_inter(distances("shared"), distances("specific")).values())).sum(),
        "csa1_intra": lambda: csa1(*halves("shared")),
        "csa1_inter": csa1_inter,
        "csa2_intra": lambda: csa2(*halves("shared"), per_identity),
        "csa2_inter": csa2_inter,
        "guidance_id": lambda: identity("guided"),
        "guidance_kl": lambda: kl2(logits("shared"), logits("guided")),
    }
    return {name: table[name]() for name in names}
