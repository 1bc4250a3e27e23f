import math

import pytest
import torch

from tests.losses.naive import log_softmax
from vireid.losses.soft_target import soft_cross_entropy


def test_equals_the_loop_and_moves_the_logits_alone() -> None:
    target, logits = torch.randn(2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target.requires_grad_()
    logits.requires_grad_()
    loss = soft_cross_entropy(target, logits)
    expected = 0.0
    for row_t, row_l in zip(target.detach().numpy(), logits.detach().numpy(), strict=True):
        expected -= sum(math.exp(t) * q for t, q in zip(log_softmax(row_t), log_softmax(row_l), strict=True)) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    assert target.grad is None
    assert logits.grad is not None
    assert torch.allclose(logits.grad, (logits.softmax(1) - target.softmax(1)).detach() / 4)
