"""Against loops in float64 that follow the paper's formula and, separately, the released code's arithmetic."""

import math

import pytest
import torch

from vireid.losses.weighted_triplet import weighted_triplet

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]


def distances(scale: float, seed: int = 0) -> torch.Tensor:
    x = scale * torch.randn(len(LABELS), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.cdist(x, x)


def paper(d: torch.Tensor) -> float:
    losses = []
    for i, label in enumerate(LABELS):
        positive = [d[i, j].item() for j, other in enumerate(LABELS) if other == label and j != i]
        negative = [d[i, j].item() for j, other in enumerate(LABELS) if other != label]
        farthest = sum(math.exp(x) * x for x in positive) / sum(math.exp(x) for x in positive)
        nearest = sum(math.exp(-x) * x for x in negative) / sum(math.exp(-x) for x in negative)
        losses.append(math.log(1 + math.exp(farthest - nearest)))
    return sum(losses) / len(losses)


def released(d: torch.Tensor) -> float:
    losses = []
    for i, label in enumerate(LABELS):
        sums = []
        for sign, mine in ((1, [other == label for other in LABELS]), (-1, [other != label for other in LABELS])):
            masked = [sign * d[i, j].item() if mine[j] else 0.0 for j in range(len(LABELS))]
            top = max(masked)
            total = sum(math.exp(v - top) for v, m in zip(masked, mine, strict=True) if m) + 1e-6
            sums.append(sum(sign * v * math.exp(v - top) / total for v, m in zip(masked, mine, strict=True) if m))
        losses.append(math.log(1 + math.exp(sums[0] - sums[1])))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [0.3, 1.0, 8.0])
def test_equals_the_loops(scale: float) -> None:
    d, labels = distances(scale), torch.tensor(LABELS)
    assert weighted_triplet(d, labels).item() == pytest.approx(paper(d), rel=1e-12)
    measured = weighted_triplet(d, labels, self_positive=True, null_weight=1e-6).item()
    assert measured == pytest.approx(released(d), rel=1e-12)


def test_far_negatives_drop_out_of_the_released_form_only() -> None:
    """All negatives 30 away, positives 1: the paper's loss is 0 there, the released one softplus(1 − 0)."""
    labels = torch.tensor([0, 0, 1, 1])
    d = torch.full((4, 4), 30.0, dtype=torch.float64)
    d[labels[:, None] == labels] = 1.0
    assert weighted_triplet(d, labels).item() < 1e-12
    assert weighted_triplet(d, labels, null_weight=1e-6).item() == pytest.approx(math.log(1 + math.e), rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"self_positive": True, "null_weight": 1e-6}])
def test_gradient_equals_finite_differences(options: dict) -> None:
    d = distances(1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: weighted_triplet(x, torch.tensor(LABELS), **options), d)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_missing_negatives_or_positives_count_as_0(labels: list[int]) -> None:
    d = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]], requires_grad=True)
    loss = weighted_triplet(d, torch.tensor(labels))
    loss.backward()
    assert torch.isfinite(loss)
    assert d.grad is not None
    assert torch.isfinite(d.grad).all()
    if len(set(labels)) == 1:
        weights = torch.softmax(torch.tensor([1.0, 2.0]), 0)
        first = (weights * torch.tensor([1.0, 2.0])).sum()
        alone = weighted_triplet(d.detach()[:1, :1], torch.tensor([0]))
        assert alone.item() == pytest.approx(math.log(2))
        assert loss.item() > torch.nn.functional.softplus(first).item()  # the other two anchors are farther
