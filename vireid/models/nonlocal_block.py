"""Non-local block (Wang et al., CVPR 2018) in the form that AGW released: affinities divided by N, no softmax."""

from __future__ import annotations

from torch import Tensor, nn


class NonLocal(nn.Module):
    """x + BN(W·y), y = θ(x)ᵀφ(x)·g(x) / N over the N positions; BN starts at 0, so the block starts as the identity.

    Parameter names are those of AGW's public code. Without a softmax the product is associative: φ·gᵀ (w×w) is formed
    first, and the N×N affinities never exist.

    Args:
        channels: of the map.
        width: channels w of θ, φ and g. AGW's code has 1 (``reduc_ratio//reduc_ratio``); the non-local paper has half.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.g = nn.Sequential(nn.Conv2d(channels, width, 1))
        self.W = nn.Sequential(nn.Conv2d(width, channels, 1), norm)
        self.theta = nn.Conv2d(channels, width, 1)
        self.phi = nn.Conv2d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → the same."""
        theta, phi, g = (part(x).flatten(2) for part in (self.theta, self.phi, self.g))  # B×w×N each
        # B×w×w; divided before the sum, so that half precision does not overflow.
        mixing = g @ (phi / phi.shape[2]).transpose(1, 2)
        y: Tensor = self.W((mixing @ theta).view(len(x), -1, *x.shape[2:]))
        return y + x
