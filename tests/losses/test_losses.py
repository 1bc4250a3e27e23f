"""Each loss against a loop over samples in float64, and its gradient against finite differences."""

import numpy as np
import pytest
import torch

from vireid.losses.csa import csa1, csa2
from vireid.losses.identity import cross_entropy
from vireid.losses.numeric import euclidean, kl2
from vireid.losses.purifier import centroid_gaps, purifier_centroid, purifier_entropy
from vireid.losses.tgsa import tgsa_inter, tgsa_intra
from vireid.losses.triplet import batch_hard_triplet

from . import naive

P, HALF, D, C = 3, 2, 5, 7
N = P * HALF
LABELS = [4, 4, 0, 0, 6, 6]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def halves(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    visible, infrared = x.numpy().reshape(2, -1, x.shape[1])
    return visible, infrared


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, C])
def test_cross_entropy(smoothing: float, classes: int) -> None:
    logits, labels = draw(N, classes), [k % classes for k in range(N)]
    expected = naive.cross_entropy(logits.numpy(), labels, smoothing)
    assert cross_entropy(logits, torch.tensor(labels), smoothing).item() == pytest.approx(expected, rel=1e-12)


def test_euclidean_and_triplet() -> None:
    x = draw(2 * N, D)
    distances = euclidean(x)
    assert distances[1, 4].item() == pytest.approx(naive.distance(x[1].numpy(), x[4].numpy()), rel=1e-12)
    measured = batch_hard_triplet(distances, torch.tensor(LABELS * 2), 0.8)
    assert measured.item() == pytest.approx(naive.triplet(x.numpy(), LABELS * 2, 0.8), rel=1e-12)


def test_triplet_without_a_negative_is_zero_with_finite_gradient() -> None:
    x = draw(4, D).requires_grad_()
    loss = batch_hard_triplet(euclidean(x), torch.zeros(4, dtype=torch.long), 0.3)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("rows", [N, 5])
def test_tgsa(rows: int) -> None:
    shared, specific = draw(2 * rows, D), draw(2 * rows, D, seed=1)
    ds, dp = euclidean(shared), euclidean(specific)
    intra = {k: v.item() for k, v in tgsa_intra(ds).items()}
    inter = {k: v.item() for k, v in tgsa_inter(ds, dp).items()}
    assert intra == pytest.approx(naive.tgsa_intra(*halves(shared)), rel=1e-9)
    assert inter == pytest.approx(naive.tgsa_inter(halves(shared), halves(specific)), rel=1e-9)


def test_csa() -> None:
    a, b = draw(N, C), draw(N, C, seed=1)
    assert csa1(a, b).item() == pytest.approx(naive.kl2(a.numpy(), b.numpy()), rel=1e-12)
    assert csa2(a, b, HALF).item() == pytest.approx(naive.csa2(a.numpy(), b.numpy(), LABELS), rel=1e-12)


def test_kl2_is_symmetric_and_zero_only_between_equals() -> None:
    a, b = draw(N, C), draw(N, C, seed=1)
    assert kl2(a, b).item() == pytest.approx(kl2(b, a).item(), rel=1e-12)
    assert kl2(a, a + 3.0).item() == pytest.approx(0, abs=1e-12)
    assert kl2(a * 1e4, b * 1e4).isfinite()


def test_purifier() -> None:
    raw, purified = draw(2 * N, C), 0.5 * draw(2 * N, C, seed=1)
    expected = naive.purifier_entropy(raw.numpy(), purified.numpy())
    assert expected > 0
    assert purifier_entropy(raw, purified).item() == pytest.approx(expected, rel=1e-12)

    x, infrared = draw(2 * N, D), [False] * N + [True] * N
    gaps = centroid_gaps(x[:N], x[N:], HALF)
    assert gaps.tolist() == pytest.approx(naive.centroid_gaps(x.numpy(), LABELS * 2, infrared), rel=1e-12)
    assert purifier_centroid(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.6])).item() == pytest.approx(0.3)


def test_gradients_equal_finite_differences() -> None:
    x, y = draw(2 * N, D).requires_grad_(), draw(2 * N, D, seed=1).requires_grad_()
    labels = torch.tensor(LABELS * 2)

    def all_terms(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        dx, dy = euclidean(x), euclidean(y)
        return (
            cross_entropy(x, labels % D, 0.1),
            batch_hard_triplet(dx, labels, 5.0),
            *tgsa_intra(dx).values(),
            *tgsa_inter(dx, dy).values(),
            csa1(x, y),
            csa2(x, y, HALF),
            purifier_entropy(x, y),
            purifier_centroid(centroid_gaps(x[:N], x[N:], HALF), centroid_gaps(y[:N], y[N:], HALF)),
        )

    assert torch.autograd.gradcheck(all_terms, (x, y))


def test_equal_rows_have_finite_gradients() -> None:
    x = torch.ones(2 * N, D, requires_grad=True)
    distances = euclidean(x)
    gaps = centroid_gaps(x[:N], x[N:], HALF)
    loss = batch_hard_triplet(distances, torch.tensor(LABELS * 2), 0.3) + sum(tgsa_intra(distances).values())
    (loss + gaps.sum()).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_half_precision_inputs_compute_in_single_precision() -> None:
    x = draw(2 * N, D).to(torch.bfloat16)
    labels = torch.tensor(LABELS * 2)
    with torch.autocast("cpu", torch.bfloat16):
        distances = euclidean(x)
        values = [distances, batch_hard_triplet(distances, labels, 0.3), kl2(x, x), cross_entropy(x, labels % D)]
        values += [*tgsa_intra(distances).values(), csa2(x, x, HALF), purifier_entropy(x, x)]
    assert {value.dtype for value in values} == {torch.float32}
