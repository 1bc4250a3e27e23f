"""The loss terms of IDKL, unweighted, computed on demand from a model output."""

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
from vireid.losses.pull import feature_pull
from vireid.losses.purifier import centroid_gaps, purifier_centroid, purifier_entropy
from vireid.losses.tgsa import tgsa_inter, tgsa_intra
from vireid.losses.triplet import batch_hard_triplet
from vireid.models.idkl_config import IDKLConfig

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
    names: Iterable[str], output: ModelOutput, pairs: Pairs, config: IDKLConfig, num_classes: int
) -> dict[str, Tensor]:
    """Compute the named terms; what several of them need (distances, aligned rows) is computed once.

    Args:
        names: of the terms.
        output: of ``IDKL.forward``, rows in batch order.
        pairs: alignment of the batch's rows.
        config: what the terms depend on beside their weights.
        num_classes: identities in training.
    """
    labels = torch.cat([pairs.labels, pairs.labels])
    per_identity = pairs.per_identity
    two_way_smoothing = 0.0 if config.smooth_discriminators == "none" else config.label_smoothing
    two_way_spread = num_classes if config.smooth_discriminators == "identities" else None

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
        return cross_entropy(logits(name), labels, config.label_smoothing)

    def discriminator(name: str, modality: Tensor) -> Tensor:
        return cross_entropy(logits(name), modality, two_way_smoothing, two_way_spread)

    def triplet(name: str) -> Tensor:
        return batch_hard_triplet(distances(name), labels, config.margin)

    def total(parts: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(parts.values())).sum()

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
        "modality": lambda: discriminator("modality", modality_labels(pairs)),
        "pseudo_modality": lambda: discriminator(
            "pseudo_modality", pseudo_modality_labels(pairs, config.pseudo_labels)
        ),
        "purifier": purifier,
        "tgsa_intra": lambda: total(tgsa_intra(distances("shared"), config.tgsa_cross)),
        "tgsa_inter": lambda: total(tgsa_inter(distances("shared"), distances("specific"))),
        "csa1_intra": lambda: csa1(*halves("shared")),
        "csa1_inter": csa1_inter,
        "csa2_intra": lambda: csa2(*halves("shared"), per_identity),
        "csa2_inter": csa2_inter,
        "guidance_id": lambda: identity("guided"),
        "guidance_kl": lambda: kl2(logits("shared"), logits("guided")),
        "fork_attention": lambda: feature_pull(output.features["shared"], output.features["fork_target"]),
    }
    return {name: table[name]() for name in names}
