"""GeM in training against the written-out formula."""

from __future__ import annotations

import pytest
import torch

from vireid.models.heads import FLOOR, GeM, PowerMean, power_mean


@pytest.mark.parametrize("p", [1.0, 2.5, 3.0, 8.0])
def test_gradient_by_finite_differences(p: float) -> None:
    x = torch.randn(3, 4, 3, 2, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(lambda t: PowerMean.apply(t, p), x.clone().requires_grad_())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("p", [1.0, 3.0, 4.5])
def test_equals_autograd(p: float, layout: torch.memory_format) -> None:
    """Values and gradients in float32, with dead positions, a dead channel, and more rows than one chunk holds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 512, 24, 9, generator=generator).relu_()
    x[:, 3] = 0.0
    x = x.contiguous(memory_format=layout)
    weight = torch.randn(9, 512, generator=generator)
    ours, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    value, expected = PowerMean.apply(ours, p), power_mean(plain, p)
    assert torch.allclose(value, expected, rtol=1e-6, atol=0)
    (value * weight).sum().backward()
    (expected * weight).sum().backward()
    assert ours.grad is not None
    assert ours.grad.stride() == x.stride()
    assert torch.allclose(ours.grad, plain.grad, rtol=1e-5, atol=1e-9)


def test_half_precision_map_keeps_its_type_and_only_itself() -> None:
    x = torch.randn(4, 8, 6, 3, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    kept: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = GeM(3.0)(x)
    assert y.dtype == torch.float32
    assert {t.dtype for t in kept if t.dim() == 4} == {torch.bfloat16}
    y.sum().backward()
    reference = x.detach().double().requires_grad_()
    power_mean(reference, 3.0).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert torch.allclose(x.grad.double(), reference.grad, rtol=1e-2, atol=1e-4)


def test_evaluation_uses_plain_operators() -> None:
    pool = GeM(3.0).eval()
    x = torch.rand(2, 4, 3, 3, requires_grad=True)
    assert "PowerMean" not in str(pool(x).grad_fn)
    assert torch.allclose(pool(x), GeM(3.0)(x), rtol=1e-6)
    assert float(pool(torch.zeros(1, 1, 2, 2))) == pytest.approx(FLOOR)
