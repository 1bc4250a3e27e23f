"""The purifier's masks in training against the written-out formula."""

from __future__ import annotations

import pytest
import torch

from vireid.models.purifier import ApplyMasks, Purifier, apply_masks


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    layout = torch.channels_last
    return [torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout) for _ in range(4)]


def test_gradient_by_finite_differences() -> None:
    inputs = [x.requires_grad_() for x in maps(2, 3, 2, 2, dtype=torch.float64)]
    assert torch.autograd.gradcheck(ApplyMasks.apply, inputs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_equals_autograd(dtype: torch.dtype, tolerance: float) -> None:
    """More rows than one chunk holds; in bf16 against the exact result."""
    inputs = [x.requires_grad_() for x in maps(9, 512, 24, 9, dtype=dtype)]
    weights = maps(9, 512, 24, 9)[:3]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    outputs, expected = ApplyMasks.apply(*inputs), apply_masks(*exact)
    for leaves, results in ((inputs, outputs), (exact, expected)):
        total = torch.stack([(y.double() * w).sum() for y, w in zip(results, weights, strict=True)]).sum()
        total.backward()
        assert all(leaf.grad is not None for leaf in leaves)
    for ours, reference in zip(outputs, expected, strict=True):
        assert ours.dtype == dtype
        assert torch.allclose(ours.double(), reference, rtol=tolerance, atol=tolerance)
    for leaf, reference in zip(inputs, exact, strict=True):
        assert leaf.grad.stride() == leaf.stride()
        assert torch.allclose(leaf.grad.double(), reference.grad, rtol=2 * tolerance, atol=5 * tolerance)


def test_purifier_is_the_same_in_training_and_evaluation() -> None:
    torch.manual_seed(0)
    purifier = Purifier(32)
    purifier.norm.track_running_stats = False  # else evaluation normalises with running statistics
    purifier.norm.running_mean = purifier.norm.running_var = None
    x = torch.randn(3, 32, 6, 4)
    trained, evaluated = purifier(x), purifier.eval()(x)
    for ours, plain in zip(trained, evaluated, strict=True):
        assert torch.allclose(ours, plain, atol=1e-6)
