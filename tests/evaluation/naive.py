"""Straightforward float64 loops: the values that the vectorised core must give."""

from __future__ import annotations

import numpy as np

from vireid.core.types import FloatArray
from vireid.evaluation.metrics import Labels

REASONS = {
    "none": (),
    "same_id_same_cam": ("own camera",),
    "same_id_same_cam_other": ("own camera", "own modality"),
    "sysu_two_way": ("of one place",),
    "sysu_mixed": ("of one place", "own camera"),
    "sysu_mixed_other": ("of one place", "own camera", "own modality"),
}


def removed(rule: str, query: Labels, q: int, gallery: Labels, g: int) -> bool:
    if rule == "sysu":
        return bool(query.camera[q] == 3 and gallery.camera[g] == 2)
    own = bool(query.identity[q] == gallery.identity[g])
    reasons = {
        "of one place": {int(query.camera[q]), int(gallery.camera[g])} == {2, 3},
        "own camera": own and query.camera[q] == gallery.camera[g],
        "own modality": own and query.modality is not None and query.modality[q] == gallery.modality[g],
    }
    return any(reasons[reason] for reason in REASONS[rule])


def rank(
    scores: FloatArray, query: Labels, gallery: Labels, rule: str, cmc: str, distance: bool = False
) -> list[tuple[float, float, int] | None]:
    """(AP, INP, first-hit rank) per query, None without a match."""
    found: list[tuple[float, float, int] | None] = []
    for q in range(len(query)):
        row = [float(value) * (1 if distance else -1) for value in scores[q]]
        order = sorted((g for g in range(len(gallery)) if not removed(rule, query, q, gallery, g)), key=row.__getitem__)
        identities = [int(gallery.identity[g]) for g in order]
        own = int(query.identity[q])
        if own not in identities:
            found.append(None)
            continue
        hits, precision, last = 0, 0.0, 0
        for position, identity in enumerate(identities, start=1):
            if identity == own:
                hits += 1
                precision += hits / position
                last = position
        counted = list(dict.fromkeys(identities)) if cmc == "dedup" else identities
        found.append((precision / hits, hits / last, counted.index(own) + 1))
    return found


def rerank(features: FloatArray, num_query: int, variant: str, k1: int, k2: int, weight: float) -> FloatArray:
    """k-reciprocal re-ranking of stacked query and gallery features, image by image."""
    features = features.astype(np.float64)
    n = len(features)
    distance = np.array([[((a - b) ** 2).sum() for b in features] for a in features])
    distance = np.array([distance[:, j] / distance[:, j].max() for j in range(n)])
    candidates = num_query if variant == "query-only" else n
    ranking = [sorted(range(candidates), key=distance[i].__getitem__) for i in range(n)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in ranking[i][: k + 1] if i in ranking[j][: k + 1]}

    encoding = np.zeros((n, n))
    for i in range(n):
        base = reciprocal(i, k1)
        expanded = set(base)
        for candidate in base:
            half = reciprocal(candidate, round(k1 / 2))
            if len(half & base) > 2 / 3 * len(half):
                expanded |= half
        for j in expanded:
            encoding[i, j] = np.exp(-distance[i, j])
        if expanded:
            encoding[i] /= encoding[i].sum()
    if k2 > 1:
        encoding = np.array([np.mean([encoding[j] for j in ranking[i][:k2]], axis=0) for i in range(n)])
    result = np.empty((num_query, n - num_query))
    for i in range(num_query):
        for j in range(num_query, n):
            shared = np.minimum(encoding[i], encoding[j]).sum()
            result[i, j - num_query] = (1 - weight) * (1 - shared / (2 - shared)) + weight * distance[i, j]
    return result
