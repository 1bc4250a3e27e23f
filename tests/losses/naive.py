"""The losses written as plain loops over samples in float64: where expected values come from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def log_softmax(row: Array) -> Array:
    top = max(row)
    return np.array([x - top - math.log(sum(math.exp(y - top) for y in row)) for x in row])


def kl2(a: Array, b: Array) -> float:
    total = 0.0
    for row_a, row_b in zip(a, b, strict=True):
        for x, y in zip(log_softmax(row_a), log_softmax(row_b), strict=True):
            total += math.exp(y) * (y - x) + math.exp(x) * (x - y)
    return total / len(a)


def distance(x: Array, y: Array) -> float:
    return math.sqrt(sum((a - b + 1e-6) ** 2 for a, b in zip(x, y, strict=True)))


def cross_entropy(logits: Array, labels: list[int], smoothing: float) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for c, value in enumerate(log_softmax(row)):
            total -= value * ((1 - smoothing) * (c == label) + smoothing / len(row))
    return total / len(logits)


def triplet(features: Array, labels: list[int], margin: float) -> float:
    losses = []
    for i, x in enumerate(features):
        positives = [distance(x, y) for j, y in enumerate(features) if labels[j] == labels[i] and j != i]
        negatives = [distance(x, y) for j, y in enumerate(features) if labels[j] != labels[i]]
        losses.append(max(0.0, margin + max(positives) - min(negatives)))
    return sum(losses) / len(losses)


def graph(rows: Array) -> Array:
    return np.array([[distance(x, y) for j, y in enumerate(rows) if j != i] for i, x in enumerate(rows)])


def tgsa_intra(visible: Array, infrared: Array) -> dict[str, float]:
    half = math.ceil(len(visible) / 2)
    cross = np.array([*visible[:half], *infrared[: len(visible) - half]])
    v, i, x = graph(visible), graph(infrared), graph(cross)
    return {"vi": kl2(v, i), "vx": kl2(v, x), "xi": kl2(x, i)}


def tgsa_inter(shared: tuple[Array, Array], specific: tuple[Array, Array]) -> dict[str, float]:
    names = ("visible", "infrared")
    return {n: kl2(graph(s), graph(p)) for n, s, p in zip(names, shared, specific, strict=True)}


def csa2(a: Array, b: Array, labels: list[int]) -> float:
    """``labels``: identity of each row of either modality."""

    def joined(logits: Array) -> Array:
        identities = list(dict.fromkeys(labels))
        rows = {i: [logits[k] for k, label in enumerate(labels) if label == i] for i in identities}
        return np.array([np.concatenate([rows[i][j] for i in identities]) for j in range(len(rows[identities[0]]))])

    return kl2(joined(a), joined(b))


def purifier_entropy(raw: Array, purified: Array) -> float:
    def entropy(row: Array) -> float:
        return -sum(math.exp(x) * x for x in log_softmax(row))

    gains = [max(0.0, entropy(p) - entropy(r)) for r, p in zip(raw, purified, strict=True)]
    return sum(math.exp(g) - 1 for g in gains) / len(gains)


def centroid_gaps(features: Array, labels: list[int], infrared: list[bool]) -> list[float]:
    gaps = []
    for identity in dict.fromkeys(labels):
        mine = [k for k, label in enumerate(labels) if label == identity]
        v = np.mean([features[k] for k in mine if not infrared[k]], axis=0)
        i = np.mean([features[k] for k in mine if infrared[k]], axis=0)
        gaps.append(math.sqrt(sum((a - b) ** 2 for a, b in zip(v, i, strict=True))))
    return gaps
