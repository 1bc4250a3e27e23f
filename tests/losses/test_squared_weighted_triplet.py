"""Against loops in float64 that follow the paper's formula and, separately, the released code's arithmetic."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vireid.losses.numeric import euclidean
from vireid.losses.squared_weighted_triplet import squared_weighted_triplet

GOLDEN = Path(__file__).parents[1] / "golden"
LABELS = [0, 0, 0, 1, 1, 1, 2, 2]


def distances(scale: float) -> torch.Tensor:
    x = scale * torch.randn(len(LABELS), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.cdist(x, x)


def paper(d: torch.Tensor) -> float:
    losses = []
    for i, label in enumerate(LABELS):
        positive = [d[i, j].item() for j, other in enumerate(LABELS) if other == label and j != i]
        negative = [d[i, j].item() for j, other in enumerate(LABELS) if other != label]
        farthest = sum(math.exp(x) * x for x in positive) / sum(math.exp(x) for x in positive)
        nearest = sum(math.exp(-x) * x for x in negative) / sum(math.exp(-x) for x in negative)
        squared = (farthest - nearest) ** 2
        losses.append(math.log1p(math.exp(squared if farthest > nearest else -squared)))
    return sum(losses) / len(losses)


def released(d: torch.Tensor) -> float:
    losses = []
    for i, label in enumerate(LABELS):
        sums = []
        for sign, mine in ((1, [other == label for other in LABELS]), (-1, [other != label for other in LABELS])):
            masked = [sign * d[i, j].item() if mine[j] else 0.0 for j in range(len(LABELS))]
            top = max(masked)
            total = sum(math.exp(v - top) for v, m in zip(masked, mine, strict=True) if m) + 1e-6
            sums.append(sum(v * math.exp(v - top) / total for v, m in zip(masked, mine, strict=True) if m) * sign)
        squared = min((sums[0] - sums[1]) ** 2, 88.0)
        losses.append(math.log1p(math.exp(squared if sums[0] > sums[1] else -squared)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_equals_the_loops(scale: float) -> None:
    d, labels = distances(scale), torch.tensor(LABELS)
    assert squared_weighted_triplet(d, labels).item() == pytest.approx(paper(d), rel=1e-12)
    assert squared_weighted_triplet(d, labels, released=True).item() == pytest.approx(released(d), rel=1e-12)


def test_equals_the_public_code() -> None:
    arrays, expected = np.load(GOLDEN / "loss_caj.npz"), json.loads((GOLDEN / "loss_caj.json").read_text())
    features, labels = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["labels"])
    for scale, name in ((1, "squared_weighted_triplet"), (3, "squared_weighted_triplet_of_3x")):
        measured = squared_weighted_triplet(euclidean(scale * features), labels, released=True).item()
        assert measured == pytest.approx(expected[name], rel=1e-5)


def test_a_hopeless_row_has_no_gradient_in_the_released_form_alone() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    for is_released, pulls in ((True, False), (False, True)):
        d = torch.full((4, 4), 1.0, dtype=torch.float64)
        d[labels[:, None] == labels] = 30.0
        d.requires_grad_()
        loss = squared_weighted_triplet(d, labels, released=is_released)
        loss.backward()
        assert d.grad is not None
        assert loss.item() == pytest.approx(88.0 if is_released else 29.0**2)
        assert bool(d.grad.abs().sum() > 0) == pulls


@pytest.mark.parametrize("is_released", [False, True])
def test_gradient_equals_finite_differences(is_released: bool) -> None:
    d = distances(1.0).requires_grad_()
    labels = torch.tensor(LABELS)
    assert torch.autograd.gradcheck(lambda x: squared_weighted_triplet(x, labels, released=is_released), d)
