"""How near a deployed file's features are, against plain loops."""

import numpy as np
import pytest

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.evaluation.neighbours import fidelity


def _naive(features, reference, modality):
    cosines = [float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in zip(features, reference, strict=True)]
    visible = [i for i, value in enumerate(modality) if value == Modality.VISIBLE]
    shares = []
    for query in (i for i, value in enumerate(modality) if value == Modality.INFRARED):
        lists = []
        for rows in (features, reference):
            unit = [row / np.sqrt(row @ row) for row in rows]
            scores = [float(unit[query] @ unit[j]) for j in visible]
            lists.append(sorted(range(len(visible)), key=lambda j, s=scores: (-s[j], j))[:10])
        shares.append(len(set(lists[0]) & set(lists[1])) / len(lists[0]))
    return float(np.mean(cosines)), float(np.mean(shares))


@pytest.mark.parametrize("visible", [7, 40])  # fewer than ten neighbours, and more
def test_equals_plain_loops(visible):
    random = np.random.default_rng(visible)
    reference = random.normal(size=(visible + 12, 16))
    features = reference + 0.5 * random.normal(size=reference.shape)
    modality = np.array([0] * visible + [1] * 12)
    random.shuffle(modality)
    found = fidelity(features, reference, modality)
    cosine, overlap = _naive(features, reference, modality)
    assert found.cosine == pytest.approx(cosine, abs=1e-12)
    assert found.overlap10 == pytest.approx(overlap, abs=1e-12)
    assert 0.5 < found.cosine < 1


def test_the_same_features_are_perfect_whatever_their_length():
    reference = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    found = fidelity(3 * reference, reference, np.arange(30) % 2)
    assert found.cosine == pytest.approx(1)
    assert found.overlap10 == 1


def test_images_of_one_modality_are_refused():
    rows = np.ones((4, 2))
    with pytest.raises(UserError, match="visible and infrared"):
        fidelity(rows, rows, np.zeros(4))
    with pytest.raises(UserError, match="not of the same images"):
        fidelity(rows, rows[:, :1], np.arange(4) % 2)
