"""IN-guided information purifier of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708). Training only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vireid.models.heads import GeM
from vireid.models.masking import ApplyMasks, Maps, apply_masks
from vireid.models.norm import InstanceNorm2d
from vireid.models.resnet import Branch
from vireid.models.trunk_spec import TrunkSpec


class Purified(NamedTuple):
    """Maps (B×D×h×w) of the purifier, in IDKL's notation."""

    normed: Tensor  # F_in, the instance-normalised map
    normed_purified: Tensor  # F_in' = m_in · F_in
    purified: Tensor  # F' = m_f · F
    output: Tensor  # X = m_in · F' + m_f · F_in'


class Purifier(nn.Module):
    """Masks every position and channel of a map and of its instance-normalised version, each by a mask of its own."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.norm = InstanceNorm2d(channels, affine=True, track_running_stats=True)
        self.mask_normed = _mask(channels, reduction)
        self.mask = _mask(channels, reduction)

    def forward(self, x: Tensor) -> Purified:
        """B×D×h×w → four maps of the same shape."""
        normed = self.norm(x)
        logits = self.mask_normed(normed), self.mask(x)
        fused = self.training and torch.is_grad_enabled()
        maps: Maps = (ApplyMasks.apply if fused else apply_masks)(normed, x, *logits)
        return Purified(normed, *maps)


def _mask(channels: int, reduction: int) -> nn.Sequential:
    """Logits of a mask: conv1×1(ReLU(conv1×1(x))), no bias, per position."""
    inner = max(1, channels // reduction)
    return nn.Sequential(
        nn.Conv2d(channels, inner, 1, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, channels, 1, bias=False),
    )


class SpecificBranch(nn.Module):
    """Layers 3 and 4 of the specific branch, their purifier, and the pooling of its maps."""

    def __init__(self, spec: TrunkSpec, gem_p: float, gem_learnable: bool) -> None:
        super().__init__()
        self.branch = Branch(spec)
        self.purifier = Purifier(spec.features)
        self.pool = GeM(gem_p, gem_learnable)

    def forward(self, common: Tensor) -> tuple[Tensor, Purified]:
        """B×C₂×H/8×W/8 → the raw map F and the maps of the purifier (B×D×h×w each)."""
        raw: Tensor = self.branch(common)
        return raw, self.purifier(raw)
