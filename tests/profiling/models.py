"""Small modules whose cost is known by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GeM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(3.0).mean(dim=(-1, -2)).pow(1 / 3)


class MultiheadPool(nn.Module):
    """``nn.MultiheadAttention`` over positions, called with keywords, which forward hooks do not see."""

    def __init__(self, width: int = 8, heads: int = 2, need_weights: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4, bias=False)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.need_weights = need_weights

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        out, _ = self.attention(query=tokens, key=tokens, value=tokens, need_weights=self.need_weights)
        return out.amax(dim=1)


class FunctionalAttention(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2).unsqueeze(1)
        return F.scaled_dot_product_attention(tokens, tokens, tokens).squeeze(1).amax(dim=1)


class WithDeadBranch(nn.Module):
    """Runs a branch whose result is thrown away, as the released IDKL does at test."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.ignored = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        self.ignored(images)
        return self.used(images).mean(dim=(-1, -2))


class Pooled(nn.Sequential):
    """Convolution, one layer under test, GeM."""

    def __init__(self, layer: nn.Module, width: int = 4) -> None:
        super().__init__(nn.Conv2d(3, width, 3, padding=1, bias=False), layer, GeM())


class SharedConvolution(nn.Module):
    """One convolution inside three blocks, executed three times."""

    class Block(nn.Module):
        def __init__(self, conv: nn.Module) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(self.Block(conv) for _ in range(3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.blocks(self.stem(images)).mean(dim=(-1, -2))


def without_gradient(model: nn.Module, loss: Callable[[], Tensor]) -> set[str]:
    """Names of the trainable parameters that one training step leaves without a gradient: a check on declared roles.

    Args:
        model: model whose gradients are cleared, filled and cleared again.
        loss: computes the total loss of one step. Take a step in which every term is active.
    """
    model.zero_grad(set_to_none=True)
    loss().backward()
    names = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    model.zero_grad(set_to_none=True)
    return names
