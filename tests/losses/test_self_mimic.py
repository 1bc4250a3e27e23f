"""Against a loop over rows in float64."""

import pytest
import torch

from vireid.losses.self_mimic import self_mimic

GROUPS, CLASSES, D = 3, 4, 5


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def arrays() -> tuple[torch.Tensor, ...]:
    groups = torch.tensor([2, 0, 2, 0, 2, 0, 1, 1, 1])
    labels = torch.tensor([0, 0, 3, 3, 1, 1, 0, 3, 1])
    return draw(9, D), labels, groups, draw(GROUPS, CLASSES, D, seed=1)


def naive(features: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, means: torch.Tensor, known) -> float:
    found: list[list[float]] = [[] for _ in range(GROUPS)]
    for row, label, group in zip(features.tolist(), labels.tolist(), groups.tolist(), strict=True):
        if known[group][label]:
            target = means[group, label].tolist()
            found[group].append(sum(abs(a - b) for a, b in zip(row, target, strict=True)) / D)
    mean = [sum(values) / len(values) if values else 0.0 for values in found]
    return (mean[0] + mean[1]) / 2 + mean[2]


def test_equals_the_loop() -> None:
    features, labels, groups, means = arrays()
    known = torch.ones(GROUPS, CLASSES, dtype=torch.bool)
    for missing in ((), ((0, 3),), ((2, 0), (2, 1), (2, 3))):
        for place in missing:
            known[place] = False
        measured = self_mimic(features, labels, groups, means, known).item()
        assert measured == pytest.approx(naive(features, labels, groups, means, known.tolist()), rel=1e-12)


def test_is_zero_until_there_are_prototypes() -> None:
    features, labels, groups, means = arrays()
    features.requires_grad_()
    loss = self_mimic(features, labels, groups, means, torch.zeros(GROUPS, CLASSES, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_prototypes_get_no_gradient_and_features_that_of_finite_differences() -> None:
    features, labels, groups, means = arrays()
    means.requires_grad_()
    known = torch.ones(GROUPS, CLASSES, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: self_mimic(x, labels, groups, means, known), features.requires_grad_())
    self_mimic(features, labels, groups, means, known).backward()
    assert means.grad is None
