"""Loss terms of IDKL from plain arrays: the check against reference values, free of any model."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import Array
from vireid.losses.csa import csa1, csa2
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import Pairs, pair_rows
from vireid.losses.purifier import centroid_gaps, purifier_centroid, purifier_entropy
from vireid.losses.tgsa import tgsa_inter, tgsa_intra
from vireid.losses.triplet import batch_hard_triplet

ARRAYS = (
    "labels",
    "infrared",
    "shared",
    "specific",
    "logits_shared",
    "logits_specific",
    "normed",
    "normed_purified",
    "raw_logits",
    "purified_logits",
)


def evaluate_terms(arrays: Mapping[str, Array], margin: float = 1.3) -> dict[str, float]:
    """Value of the triplet, TGSA, CSA and purifier terms.

    Args:
        arrays: ``labels`` (B), ``infrared`` (B, bool), features ``shared``, ``specific`` (B×D), ``logits_shared``,
            ``logits_specific`` (B×C); for the purifier pooled maps ``normed``, ``normed_purified`` (B×D) and
            ``raw_logits``, ``purified_logits`` (B×C).
        margin: of the triplet terms.

    Raises:
        UserError: an array is missing, or the rows do not pair up.
    """
    for name in ARRAYS:
        if name not in arrays:
            raise UserError(f"the loss terms need an array '{name}'{did_you_mean(name, arrays)}")
    pairs = pair_rows(torch.as_tensor(arrays["labels"]), torch.as_tensor(arrays["infrared"]))
    aligned = {name: pairs.align(torch.as_tensor(arrays[name])) for name in ARRAYS}
    terms = _structure_terms(aligned, margin) | _class_terms(aligned, pairs) | _purifier_terms(aligned, pairs)
    return {name: float(value) for name, value in terms.items()}


def _structure_terms(aligned: Mapping[str, Tensor], margin: float) -> dict[str, Tensor]:
    shared, specific = euclidean(aligned["shared"]), euclidean(aligned["specific"])
    return {
        "triplet_shared": batch_hard_triplet(shared, aligned["labels"], margin),
        "triplet_specific": batch_hard_triplet(specific, aligned["labels"], margin),
        **{f"tgsa_inter_{name}": value for name, value in tgsa_inter(shared, specific).items()},
        **{f"tgsa_intra_{name}": value for name, value in tgsa_intra(shared).items()},
    }


def _class_terms(aligned: Mapping[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    shared_v, shared_i = aligned["logits_shared"].chunk(2)
    specific_v, specific_i = aligned["logits_specific"].chunk(2)
    k = pairs.per_identity
    return {
        "csa1_inter_visible": csa1(shared_v, specific_v),
        "csa1_inter_infrared": csa1(shared_i, specific_i),
        "csa1_intra": csa1(shared_v, shared_i),
        "csa2_inter_visible": csa2(shared_v, specific_v, k),
        "csa2_inter_infrared": csa2(shared_i, specific_i, k),
        "csa2_intra": csa2(shared_v, shared_i, k),
    }


def _purifier_terms(aligned: Mapping[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    normed_v, normed_i = aligned["normed"].chunk(2)
    purified_v, purified_i = aligned["normed_purified"].chunk(2)
    k = pairs.per_identity
    return {
        "purifier_entropy": purifier_entropy(aligned["raw_logits"], aligned["purified_logits"]),
        "purifier_centroid": purifier_centroid(
            centroid_gaps(normed_v, normed_i, k), centroid_gaps(purified_v, purified_i, k)
        ),
    }
