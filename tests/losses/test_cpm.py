"""CPM and orthogonality of DEEN against loops in float64 and against the public code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.losses.naive import Array, distance
from vireid.losses.cpm import centre_pairs, orthogonality
from vireid.losses.numeric import euclidean
from vireid.losses.triplet import batch_hard_triplet

GOLDEN = Path(__file__).parents[1] / "golden"
MARGIN = 0.2


def half(own: Array, other: Array, expanded: Array) -> float:
    total = 0.0
    for i in range(len(own)):
        pulled, bound = distance(other[i], expanded[i]), distance(own[i], expanded[i])
        nearest = [min(distance(kind[i], kind[j]) for j in range(len(own)) if j != i) for kind in (expanded, own)]
        total += max(0.0, pulled - bound + MARGIN)
        total += sum(max(0.0, pulled - stranger + MARGIN) for stranger in nearest) / 2
    return total / len(own)


def naive(features: Array, expanded: Array, per_identity: int) -> float:
    parts = [
        part.reshape(-1, per_identity, part.shape[1]) for rows in (features, expanded) for part in np.split(rows, 2)
    ]
    v, i, more_v, more_i = (np.array([sum(rows) / per_identity for rows in part]) for part in parts)
    return (half(v, i, more_v) + half(i, v, more_i)) / 2


@pytest.mark.parametrize("per_identity", [1, 2, 4])
def test_pairs_of_centres_equal_the_loops(per_identity: int) -> None:
    random = np.random.default_rng(per_identity)
    features, expanded = random.standard_normal((2, 16, 5))
    expanded = 0.3 * features + 0.7 * expanded
    measured = centre_pairs(torch.from_numpy(features), torch.from_numpy(expanded), per_identity, MARGIN)
    assert measured.item() == pytest.approx(naive(features, expanded, per_identity), rel=1e-12)


def test_equals_the_public_code() -> None:
    arrays, expected = np.load(GOLDEN / "loss_deen.npz"), json.loads((GOLDEN / "loss_deen.json").read_text())
    features, labels = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["labels"])
    assert centre_pairs(*features.chunk(2), 4, MARGIN).item() == pytest.approx(expected["cpm"], rel=1e-5)
    measured = batch_hard_triplet(euclidean(features), labels, 0.3).item()
    assert measured == pytest.approx(expected["triplet"], rel=1e-5)


def test_the_bound_gets_no_gradient() -> None:
    """Identities are far apart, so h(d23, sg d13) and h(d14's counterpart) act alone; each pulls d23 and d14 only."""
    features = torch.tensor([[0.0, 0, 0], [90, 0, 0], [0, 1, 0], [90, 1, 0]], dtype=torch.float64, requires_grad=True)
    expanded = torch.tensor([[0, 0, 0.5], [90, 0, 0.5], [0, 1, 0.5], [90, 1, 0.5]], dtype=torch.float64)
    expanded.requires_grad_()
    centre_pairs(features, expanded, 1, MARGIN).backward()
    visible, infrared = torch.tensor([0.0, 0, 0]), torch.tensor([0.0, 1, 0])
    d23 = infrared - torch.tensor([0.0, 0, 0.5])  # from the expanded visible centre to the infrared one
    d14 = visible - torch.tensor([0.0, 1, 0.5])
    assert features.grad is not None
    for row, direction in ((0, d14), (2, d23)):
        expected = (direction / direction.norm() / 4).double()  # half of the mean over two identities
        assert torch.allclose(features.grad[row], expected, atol=1e-5), "a part of d13 or d24 would point elsewhere"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_orthogonality_is_the_sum_over_images_by_three_embeddings_each(dtype: torch.dtype) -> None:
    first, second = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = sum(float(a.double() @ b.double()) for a, b in zip(first, second, strict=True)) / 15
    assert orthogonality(first, second).item() == pytest.approx(expected, rel=1e-5)
