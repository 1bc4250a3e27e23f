"""The blocks of DEEN (Zhang and Wang, CVPR 2023): multi-scale aggregation (MFA) and diverse expansion (DEE).

Parameter names are those of its public code. Shapes: a residual layer turns its input, the *lower* map (B×L×h₀×w₀),
into its output, the *higher* map (B×C×h×w).
"""

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models.deen_config import DEENConfig

DILATIONS = (1, 2, 3)


def _residual(inputs: int, channels: int, stride: int = 1) -> nn.Sequential:
    """1×1 convolution and a batch norm that starts at 0, so that the step starts as the identity."""
    norm = nn.BatchNorm2d(channels)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(nn.Conv2d(inputs, channels, 1, stride=stride), norm)


class ChannelStep(nn.Module):
    """higher + BN(W·y), y = A·g(lower), A = θ(higher)·φ(lower)ᵀ / L over channels: L×L, no softmax.

    Args:
        higher: channels C.
        lower: channels L.
        stride: of the layer between both maps, which φ and W take over.
    """

    def __init__(self, higher: int, lower: int, stride: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(lower, lower, 1)
        self.theta = nn.Conv2d(higher, lower, 1)
        self.phi = nn.Conv2d(lower, lower, 1, stride=stride)
        self.W = _residual(lower, higher, stride)

    def forward(self, higher: Tensor, lower: Tensor) -> Tensor:
        """B×C×h×w, B×L×h₀×w₀ → B×C×h×w."""
        theta, phi, g = self.theta(higher).flatten(2), self.phi(lower).flatten(2), self.g(lower).flatten(2)
        affinity = (theta / theta.shape[1]) @ phi.transpose(1, 2)  # B×L×L
        y: Tensor = self.W((affinity @ g).view(-1, *lower.shape[1:]))
        return y + higher


class PositionStep(nn.Module):
    """higher + BN(W·y), y = A·g(lower), A = θ(higher)ᵀ·φ(lower) / N₀ over positions: N×N₀, no softmax.

    Without a softmax the product is associative, and the affinities never exist.

    Args:
        higher: channels C.
        lower: channels L; those of θ, φ and g are half as many.
        released: lay the L/2 channels of θ, φ and g out as L, each with half of a channel's positions, as the code
            does: it then sums over pairs of unlike channels, and its affinities are N/2 × N₀/2.
    """

    def __init__(self, higher: int, lower: int, *, released: bool) -> None:
        super().__init__()
        self.released = released
        self.g = nn.Conv2d(lower, lower // 2, 1)
        self.theta = nn.Conv2d(higher, lower // 2, 1)
        self.phi = nn.Conv2d(lower, lower // 2, 1)
        self.W = _residual(lower // 2, higher)

    def forward(self, higher: Tensor, lower: Tensor) -> Tensor:
        """B×C×h×w, B×L×h₀×w₀ → B×C×h×w."""
        maps = self.theta(higher), self.phi(lower), self.g(lower)
        theta, phi, g = (self._laid_out(x) for x in maps)
        mixing = g @ (phi / phi.shape[2]).transpose(1, 2)  # channels × channels
        y: Tensor = self.W((mixing @ theta).view(-1, maps[0].shape[1], *higher.shape[2:]))
        return y + higher

    def _laid_out(self, x: Tensor) -> Tensor:
        """Channels by positions."""
        if not self.released:
            return x.flatten(2)
        channels, height, width = x.shape[1:]
        if height * width % 2:
            raise UserError(
                f"model deen: position_step=released halves the positions of every map, and one is {height}×{width}: "
                "give the images a height and width that make them even, or set position_step=paper"
            )
        return x.reshape(-1, 2 * channels, height * width // 2)


class Aggregation(nn.Module):
    """MFA: a channel step, then a position step, from a layer's output and its input."""

    def __init__(self, higher: int, lower: int, stride: int, *, released: bool) -> None:
        super().__init__()
        self.CNL = ChannelStep(higher, lower, stride)
        self.PNL = PositionStep(higher, lower, released=released)

    def forward(self, higher: Tensor, lower: Tensor) -> Tensor:
        """B×C×h×w, B×L×h₀×w₀ → B×C×h×w."""
        result: Tensor = self.PNL(self.CNL(higher, lower), lower)
        return result


class Expansion(nn.Module):
    """DEE: a map and two more that are learned from it; dropout on all three.

    Each of the two is 1×1 (to C) of ReLU of the mean of three 3×3 convolutions (to C/4, dilations 1, 2, 3).
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        for branch in (1, 2):
            for number, dilation in enumerate(DILATIONS, start=1):
                inner = nn.Conv2d(channels, channels // 4, 3, padding=dilation, dilation=dilation, bias=False)
                self.add_module(f"FC{branch}{number}", inner)
            self.add_module(f"FC{branch}", nn.Conv2d(channels // 4, channels, 1))
        for part in self.children():
            assert isinstance(part, nn.Conv2d)
            nn.init.kaiming_normal_(part.weight, mode="fan_in")
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """B×C×h×w → x and its two expansions, each the same."""
        return self.dropout(x), self.dropout(self._branch(x, 1)), self.dropout(self._branch(x, 2))

    def _branch(self, x: Tensor, branch: int) -> Tensor:
        first, *others = (self.get_submodule(f"FC{branch}{number}")(x) for number in range(1, len(DILATIONS) + 1))
        mean = sum(others, first) / len(DILATIONS)  # not by stack: ncnn knows no dimension before the channels
        result: Tensor = self.get_submodule(f"FC{branch}")(torch.relu(mean))
        return result


def aggregations(config: DEENConfig) -> nn.ModuleDict:
    """Aggregation of every layer but the last, by name of the layer."""
    spec, blocks = config.trunk, nn.ModuleDict()
    channels = [spec.planes(1), *(spec.planes(n) * spec.expansion for n in range(1, config.layers))]
    for n in range(1, config.layers):
        stride = 1 if n == 1 else 2
        released = config.position_step == "released"
        blocks[f"layer{n}"] = Aggregation(channels[n], channels[n - 1], stride, released=released)
    return blocks
