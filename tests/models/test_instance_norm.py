"""Instance norm in channels-last training against the library's, and against finite differences."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from vireid.models.resnet import ChannelsLastInstanceNorm, InstanceNorm2d


def norms(channels: int, tracking: bool) -> tuple[InstanceNorm2d, nn.InstanceNorm2d]:
    torch.manual_seed(0)
    ours = InstanceNorm2d(channels, affine=True, track_running_stats=tracking)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    library = nn.InstanceNorm2d(channels, affine=True, track_running_stats=tracking)
    library.load_state_dict(ours.state_dict())
    return ours, library


def test_gradient_by_finite_differences() -> None:
    x = torch.randn(3, 4, 3, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    inputs = tuple(t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, weight, bias))
    assert torch.autograd.gradcheck(lambda a, b, c: ChannelsLastInstanceNorm.apply(a, b, c, 1e-5)[0], inputs)


@pytest.mark.parametrize("tracking", [False, True])
def test_equals_the_library(tracking: bool) -> None:
    """Values, gradients and running statistics over two batches, with a large mean and more rows than one chunk."""
    ours, library = norms(512, tracking)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        x = (torch.randn(9, 512, 24, 9, generator=generator) * 3 + 20).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(x.shape, generator=generator)
        results = []
        for norm, start in ((ours, x), (library, x.contiguous())):
            norm.zero_grad()
            leaf = start.clone(memory_format=torch.preserve_format).requires_grad_()
            y = norm(leaf)
            (y * weight).sum().backward()
            results.append((y, leaf.grad, norm.weight.grad, norm.bias.grad))
        assert results[0][0].is_contiguous(memory_format=torch.channels_last)
        for ours_value, expected in zip(*results, strict=True):
            assert ours_value is not None
            assert expected is not None
            scale = float(expected.detach().abs().max())
            assert torch.allclose(ours_value, expected, rtol=1e-4, atol=1e-5 * scale)
    for name, value in ours.state_dict().items():
        assert torch.allclose(value.float(), library.state_dict()[name].float(), rtol=1e-5), name
    assert "ChannelsLast" in str(ours(x.requires_grad_()).grad_fn)


def test_bf16_keeps_its_type_and_is_as_exact_as_it_can_be() -> None:
    ours, library = norms(64, tracking=True)
    x = torch.randn(4, 64, 12, 6).bfloat16().contiguous(memory_format=torch.channels_last)
    y = ours(x.clone(memory_format=torch.preserve_format).requires_grad_())
    assert y.dtype == torch.bfloat16
    exact = deepcopy(library).double()(x.double())
    assert torch.allclose(y.double(), exact, rtol=8e-3, atol=8e-3)


def test_evaluation_is_the_librarys() -> None:
    ours, library = norms(8, tracking=True)
    x = torch.randn(2, 8, 5, 4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours.eval()(x), library.eval()(x))
    assert "ChannelsLast" not in str(ours(x).grad_fn)
