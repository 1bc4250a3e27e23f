"""The two losses of PMT against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.losses.naive import Array, distance
from vireid.losses.discriminative_centre import discriminative_centre
from vireid.losses.modality_shared import modality_shared_enhancement
from vireid.losses.numeric import euclidean


def drawn(identities: int, images: int, seed: int) -> tuple[Array, list[int], list[bool]]:
    """Rows in no order, as many of either modality."""
    random = np.random.default_rng(seed)
    labels = [label for label in range(identities) for _ in range(images)]
    infrared = [bool(i % 2) for i in range(len(labels))]
    order = random.permutation(len(labels))
    centres = random.standard_normal((identities, 6))
    features = np.array([centres[label] for label in labels]) + 0.7 * random.standard_normal((len(labels), 6))
    return features[order], [7 - labels[i] for i in order], [infrared[i] for i in order]


def naive_msel(features: Array, labels: list[int], infrared: list[bool]) -> float:
    halves = []
    for modality in (True, False):
        squares = []
        for i in range(len(labels)):
            if infrared[i] != modality:
                continue
            mates = [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]
            own = [distance(features[i], features[j]) for j in mates if infrared[j] == modality]
            other = [distance(features[i], features[j]) for j in mates if infrared[j] != modality]
            squares.append((sum(other) / len(other) - sum(own) / len(own)) ** 2)
        halves.append(sum(squares) / len(squares))
    return sum(halves) / 2


def naive_dcl(features: Array, labels: list[int]) -> float:
    to_own, near = [], []
    for label in sorted(set(labels)):
        rows = [i for i, other in enumerate(labels) if other == label]
        centre = sum(features[i] for i in rows) / len(rows)
        to_own += [distance(centre, features[i]) for i in rows]
        strangers = [distance(centre, features[i]) for i in range(len(labels)) if i not in rows]
        average = sum(strangers) / len(strangers)
        nearer = [d for d in strangers if d <= average]
        near.append(sum(nearer) / len(nearer))
    return sum(to_own) / len(to_own) / (sum(near) / len(near))


@pytest.mark.parametrize(("identities", "images"), [(2, 4), (4, 8), (5, 6)])
def test_both_equal_the_loops(identities: int, images: int) -> None:
    features, labels, infrared = drawn(identities, images, seed=identities)
    rows, names = torch.from_numpy(features).requires_grad_(), torch.tensor(labels)
    msel = modality_shared_enhancement(euclidean(rows), names, torch.tensor(infrared))
    dcl = discriminative_centre(rows, names)
    assert msel.dtype == dcl.dtype == torch.float64
    assert msel.item() == pytest.approx(naive_msel(features, labels, infrared), rel=1e-10)
    assert dcl.item() == pytest.approx(naive_dcl(features, labels), rel=1e-10)
    torch.autograd.gradcheck(
        lambda x: (
            modality_shared_enhancement(euclidean(x), names, torch.tensor(infrared)),
            discriminative_centre(x, names),
        ),
        (rows,),
    )


def test_msel_is_0_where_both_modalities_are_as_far_and_counts_no_lone_anchor() -> None:
    """A square whose sides are 1: visible corners 0 and 1, infrared ones moved so that all mean distances agree."""
    height = 3**0.5 / 2
    features = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, height, 0], [0.5, height / 3, (2 / 3) ** 0.5]])
    labels, infrared = torch.zeros(4, dtype=torch.long), torch.tensor([False, False, True, True])
    assert modality_shared_enhancement(euclidean(features), labels, infrared).item() < 1e-10  # a regular tetrahedron
    features[3] *= 3
    whole = modality_shared_enhancement(euclidean(features), labels, infrared)
    assert whole > 0.1
    lone = torch.cat([features, torch.tensor([[5.0, 5, 5]])])
    with_lone = modality_shared_enhancement(
        euclidean(lone), torch.tensor([0, 0, 0, 0, 1]), torch.cat([infrared, torch.tensor([True])])
    )
    assert torch.isfinite(with_lone)
    visible, other = naive_parts(features.double().numpy())
    assert whole.item() == pytest.approx((visible / 2 + other / 2) / 2, rel=1e-5)
    assert with_lone.item() == pytest.approx((visible / 2 + other / 3) / 2, rel=1e-5)


def naive_parts(features: Array) -> tuple[float, float]:
    """Sums of squares of the visible anchors 0, 1 and of the infrared ones 2, 3, all of one identity."""

    def square(i: int, mate: int, across: tuple[int, int]) -> float:
        c = sum(distance(features[i], features[j]) for j in across) / 2
        return (c - distance(features[i], features[mate])) ** 2

    return square(0, 1, (2, 3)) + square(1, 0, (2, 3)), square(2, 3, (0, 1)) + square(3, 2, (0, 1))


def test_dcl_without_others_is_0_and_equal_distances_are_no_fault() -> None:
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert discriminative_centre(features, torch.zeros(4, dtype=torch.long)) == 0
    circle = torch.tensor([[1.0, 0], [-1, 0], [0.3, 1], [0.3, -1], [0.3, 1], [0.3, -1]])  # strangers all equally far
    assert torch.isfinite(discriminative_centre(circle, torch.tensor([0, 0, 1, 1, 1, 1])))
