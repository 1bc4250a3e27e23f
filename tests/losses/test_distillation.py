"""Each distillation term against a loop over samples in float64, and whom its gradient reaches."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vireid.losses.distillation import feature_distillation, logit_distillation, relation_distillation

from . import naive

C = 7
LABELS = [4, 4, 0, 0, 6, 6]  # of either modality


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit(rows: np.ndarray) -> np.ndarray:
    return np.array([row / math.sqrt(sum(x * x for x in row)) for row in rows])


def naive_cosine(student: np.ndarray, teacher: np.ndarray) -> float:
    pairs = zip(unit(student), unit(teacher), strict=True)
    return sum(1 - sum(x * y for x, y in zip(a, b, strict=True)) for a, b in pairs) / len(student)


def naive_mse(student: np.ndarray, teacher: np.ndarray) -> float:
    squares = [(x - y) ** 2 for a, b in zip(student, teacher, strict=True) for x, y in zip(a, b, strict=True)]
    return sum(squares) / len(squares)


def naive_relation(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """Four graphs: V, I, the first halves of V and I, and what these leave."""
    n = len(student) // 2
    half = math.ceil(n / 2)
    visible, infrared = list(range(n)), list(range(n, 2 * n))
    first = visible[:half] + infrared[: n - half]
    rest = [row for row in visible + infrared if row not in first]
    total = 0.0
    for group in (visible, infrared, first, rest):
        ours, theirs = (naive.graph(unit(x)[group]) / temperature for x in (student, teacher))
        total += naive.kl2(ours, theirs)
    return total


def naive_logits(student: np.ndarray, teacher: np.ndarray, temperature: float, joined: bool) -> float:
    total = 0.0
    for rows in (slice(None, len(LABELS)), slice(len(LABELS), None)):
        a, b = student[rows] / temperature, teacher[rows] / temperature
        total += naive.csa2(a, b, LABELS) if joined else naive.kl2(a, b)
    return temperature**2 * total


def test_feature_terms() -> None:
    student, teacher = draw(6, 5), draw(6, 5, seed=1)
    arrays = student.numpy(), teacher.numpy()
    assert feature_distillation(student, teacher).item() == pytest.approx(naive_cosine(*arrays), rel=1e-12)
    assert feature_distillation(student, teacher, "mse").item() == pytest.approx(naive_mse(*arrays), rel=1e-12)
    assert feature_distillation(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [6, 5])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_relation_term(n: int, temperature: float) -> None:
    student, teacher = draw(2 * n, 5), draw(2 * n, 9, seed=1)
    expected = naive_relation(student.numpy(), teacher.numpy(), temperature)
    assert relation_distillation(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-10)
    rotated = torch.linalg.qr(draw(9, 9, seed=2))[0]
    assert relation_distillation(2 * teacher @ rotated, teacher, temperature).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_logit_terms(temperature: float) -> None:
    student, teacher = draw(2 * len(LABELS), C), 3 * draw(2 * len(LABELS), C, seed=1)
    arrays = student.numpy(), teacher.numpy()
    for per_identity in (None, 2):
        expected = naive_logits(*arrays, temperature, joined=per_identity is not None)
        measured = logit_distillation(student, teacher, temperature, per_identity)
        assert measured.item() == pytest.approx(expected, rel=1e-10)


TERMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cosine": feature_distillation,
    "mse": lambda student, teacher: feature_distillation(student, teacher, "mse"),
    "relation": lambda student, teacher: relation_distillation(student, teacher, 0.2),
    "csa1": lambda student, teacher: logit_distillation(student, teacher, 4.0),
    "csa2": lambda student, teacher: logit_distillation(student, teacher, 4.0, 2),
}


@pytest.mark.parametrize("term", TERMS)
def test_the_gradient_reaches_the_student_alone_and_is_that_of_finite_differences(term: str) -> None:
    student, teacher = draw(8, 5).requires_grad_(), draw(8, 5, seed=1).requires_grad_()
    TERMS[term](student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().max() > 0
    assert torch.autograd.gradcheck(lambda x: TERMS[term](x, teacher.detach()), (student,))


@pytest.mark.parametrize("term", TERMS)
def test_half_precision_features_are_compared_in_single(term: str) -> None:
    student, teacher = draw(8, 5).bfloat16(), draw(8, 5, seed=1).bfloat16()
    assert TERMS[term](student, teacher).dtype == torch.float32
