"""Against a loop in float64."""

import math

import pytest
import torch

from vireid.losses.fixed_target import kl_from_fixed

from .naive import log_softmax


@pytest.mark.parametrize("reduction", ["batchmean", "mean"])
def test_equals_the_loop_and_moves_only_the_logits(reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    logits = torch.randn(4, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    total = 0.0
    for t, p in zip(target.detach().numpy(), logits.detach().numpy(), strict=True):
        for a, b in zip(log_softmax(t), log_softmax(p), strict=True):
            total += math.exp(a) * (a - b)
    loss = kl_from_fixed(target, logits, reduction)
    assert loss.item() == pytest.approx(total / (4 if reduction == "batchmean" else 24), rel=1e-12)
    loss.backward()
    assert target.grad is None
    assert logits.grad is not None
    assert kl_from_fixed(logits, logits).item() == pytest.approx(0, abs=1e-12)
