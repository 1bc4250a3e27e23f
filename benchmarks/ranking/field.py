"""What is measured against: evaluation and re-ranking as the field's code does them, query after query in NumPy.

Written for this purpose from the definitions, with dense arrays and the usual loops; single precision throughout, which
NumPy handles faster than the half precision that released code uses to save memory.
"""

from __future__ import annotations

import numpy as np


def evaluate(features, trials, labels, *, rerank=None):
    """R1, mAP and mINP, mean over trials, from raw features: normalise, multiply, sort, loop."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = []
    for trial in trials:
        query, gallery = rows[trial.query], rows[trial.gallery]
        distance = -query @ gallery.T if rerank is None else rerank(*squared_distances(query, gallery))
        means.append(loop(distance, labels[trial.query], labels[trial.gallery]))
    return np.mean(means, axis=0)


def evaluate_query_by_query(features, trials, labels):
    """The same without lists of Python numbers: product, sort and metrics of one query at a time."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = []
    for trial in trials:
        query, gallery = rows[trial.query], rows[trial.gallery]
        means.append(query_by_query(lambda n, q=query, g=gallery: g @ q[n], labels[trial.query], labels[trial.gallery]))
    return np.mean(means, axis=0)


def loop(distance, query, gallery):
    """R1, mAP and mINP of one trial from its distances, by SYSU-MM01's rule and convention.

    The steps and their order are those of the evaluators that AGW made common, lists of Python numbers included.
    """
    order = np.argsort(distance, axis=1)
    ranked = gallery.identity[order]
    matches = (ranked == query.identity[:, None]).astype(np.int32)
    curves, precisions, penalties = [], [], []
    for number in range(len(order)):
        removed = (query.camera[number] == 3) & (gallery.camera[order[number]] == 2)
        kept = np.invert(removed)
        identities = ranked[number][kept]
        first = np.unique(identities, return_index=True)[1]
        identities = [identities[place] for place in sorted(first)]
        curve = (identities == query.identity[number]).astype(np.int32).cumsum()
        hits = matches[number][kept]
        if not np.any(hits):
            continue
        curves.append(curve[:20])
        so_far = hits.cumsum()
        last = np.max(np.where(hits == 1))
        penalties.append(so_far[last] / (last + 1.0))
        precision = np.asarray([count / (place + 1.0) for place, count in enumerate(so_far)]) * hits
        precisions.append(precision.sum() / hits.sum())
    return np.mean(curves, axis=0)[0], np.mean(precisions), np.mean(penalties)


def query_by_query(similarities, query, gallery):
    """R1, mAP and mINP of one trial; ``similarities`` gives those of a query by its number."""
    found = []
    for number in range(len(query)):
        order = np.argsort(-similarities(number), kind="stable")
        if query.camera[number] == 3:
            order = order[gallery.camera[order] != 2]
        ranked = gallery.identity[order]
        hits = np.flatnonzero(ranked == query.identity[number])
        if len(hits) == 0:
            continue
        first = np.sort(np.unique(ranked, return_index=True)[1])
        rank = 1 + int(np.flatnonzero(ranked[first] == query.identity[number])[0])
        precision = np.arange(1, len(hits) + 1) / (hits + 1)
        found.append((rank <= 1, precision.mean(), len(hits) / (hits[-1] + 1)))
    return np.mean(found, axis=0)


def squared_distances(query, gallery):
    """Stacked distances (N×N) and the number of queries."""
    stacked = np.concatenate([query, gallery])
    lengths = np.square(stacked).sum(axis=1)
    distance = lengths[:, None] + lengths[None] - 2 * stacked @ stacked.T
    np.fill_diagonal(distance, 0)
    return np.maximum(distance, 0), len(query)


def rerank(distance, num_query, k1=20, k2=6, weight=0.3):
    """k-reciprocal re-ranking (Zhong et al., CVPR 2017) with dense arrays, image after image."""
    original = (distance / distance.max(axis=0)).T
    ranking = np.argsort(distance, axis=1)
    size = len(original)

    def reciprocal(image, k):
        forward = ranking[image, : k + 1]
        return forward[(ranking[forward, : k + 1] == image).any(axis=1)]

    encoding = np.zeros_like(original)
    for image in range(size):
        near = reciprocal(image, k1)
        expanded = near
        for candidate in near:
            half = reciprocal(candidate, round(k1 / 2))
            if len(np.intersect1d(half, near)) > 2 / 3 * len(half):
                expanded = np.append(expanded, half)
        expanded = np.unique(expanded)
        weights = np.exp(-original[image, expanded])
        encoding[image, expanded] = weights / weights.sum()
    encoding = np.stack([encoding[ranking[image, :k2]].mean(axis=0) for image in range(size)])
    holders = [np.flatnonzero(encoding[:, image]) for image in range(size)]
    jaccard = np.empty((num_query, size), dtype=original.dtype)
    for image in range(num_query):
        shared = np.zeros(size, dtype=original.dtype)
        for column in np.flatnonzero(encoding[image]):
            shared[holders[column]] += np.minimum(encoding[image, column], encoding[holders[column], column])
        jaccard[image] = 1 - shared / (2 - shared)
    return ((1 - weight) * jaccard + weight * original[:num_query])[:, num_query:]
