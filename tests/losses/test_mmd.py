"""Against a loop over pairs and kernels in float64."""

import math

import numpy as np
import pytest
import torch

from vireid.losses.mmd import mmd2, mutual_distillation

G, N, M, D = 3, 4, 4, 5


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(x: np.ndarray, y: np.ndarray) -> float:
    rows = [*x, *y]
    count = len(rows)

    def squared(a: np.ndarray, b: np.ndarray) -> float:
        return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))

    b = sum(squared(p, q) for p in rows for q in rows) / (count**2 - count)

    def kernel(p: np.ndarray, q: np.ndarray) -> float:
        return sum(math.exp(-squared(p, q) / (b / 4 * 2**j)) for j in range(5))

    total = sum(kernel(p, q) for p in x for q in x) / len(x) ** 2
    total += sum(kernel(p, q) for p in y for q in y) / len(y) ** 2
    return total - 2 * sum(kernel(p, q) for p in x for q in y) / (len(x) * len(y))


@pytest.mark.parametrize("m", [M, 2])
def test_every_group_equals_the_loop(m: int) -> None:
    x, y = draw(G, N, D), 0.5 + draw(G, m, D, seed=1)
    expected = [naive(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)]
    assert mmd2(x, y).tolist() == pytest.approx(expected, rel=1e-12)
    assert mmd2(y, x).tolist() == pytest.approx(expected, rel=1e-12)
    both = [2 * value for value in expected]
    assert mutual_distillation(x, y).item() == pytest.approx(sum(both) / G, rel=1e-12)


def test_is_zero_between_equal_sets_and_grows_with_their_distance() -> None:
    x = draw(1, N, D)
    values = [mmd2(x, x + shift).item() for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert values == sorted(values)


def test_gradient_equals_finite_differences_at_a_fixed_bandwidth() -> None:
    x, y = draw(1, 3, 2).requires_grad_(), draw(1, 3, 2, seed=1)
    (measured,) = torch.autograd.grad(mmd2(x, y).sum(), x)
    rows = torch.cat([x.detach(), y], dim=1)
    b = (torch.cdist(rows, rows) ** 2).sum() / 30

    def fixed(x: torch.Tensor) -> torch.Tensor:
        def mean_kernel(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            squared = (p[0, :, None] - q[0, None]).square().sum(-1)
            return torch.stack([torch.exp(-squared / (b / 4 * 2**j)) for j in range(5)]).sum(0).mean()

        return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)

    step = 1e-6
    for place in range(x.numel()):
        offset = torch.zeros(x.numel(), dtype=torch.float64)
        offset[place] = step
        offset = offset.view_as(x)
        slope = (fixed(x.detach() + offset) - fixed(x.detach() - offset)) / (2 * step)
        assert measured.flatten()[place].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-9)


def test_each_direction_moves_one_side_only() -> None:
    """The gradient on V is that of MMD²(V, I) alone, although the loss holds both directions."""
    v, i = draw(G, N, D).requires_grad_(), draw(G, N, D, seed=1).requires_grad_()
    measured = torch.autograd.grad(mutual_distillation(v, i), (v, i))
    alone = [*torch.autograd.grad(mmd2(v, i.detach()).mean(), v), *torch.autograd.grad(mmd2(i, v.detach()).mean(), i)]
    for a, b in zip(measured, alone, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=0)


def test_equal_rows_are_finite() -> None:
    x = torch.ones(1, N, D, requires_grad=True)
    loss = mutual_distillation(x, x.detach())
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_half_precision_computes_in_single() -> None:
    x = draw(G, N, D).to(torch.bfloat16)
    assert mmd2(x, x).dtype == torch.float32
