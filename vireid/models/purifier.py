"""IN-guided information purifier of IDKL (Ren & Zhang, CVPR 2024, arXiv 2403.11708). Training only."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vireid.models.heads import GeM
from vireid.models.resnet import Branch, InstanceNorm2d, at_least_single, row_chunks
from vireid.models.trunk import TrunkSpec

Maps = tuple[Tensor, Tensor, Tensor]


def apply_masks(normed: Tensor, x: Tensor, normed_logits: Tensor, logits: Tensor) -> Maps:
    """m_in·F_in, m_f·F and m_in·(m_f·F) + m_f·(m_in·F_in), with the masks m = σ(logits); all B×D×h×w."""
    mask_normed, mask = normed_logits.sigmoid(), logits.sigmoid()
    normed_purified, purified = mask_normed * normed, mask * x
    return normed_purified, purified, mask_normed * purified + mask * normed_purified


class ApplyMasks(torch.autograd.Function):
    """``apply_masks`` with a gradient of its own.

    Written out, autograd passes over memory some thirty times. With a = m_in, b = m_f the third output is
    a·b·(F + F_in); intermediate results are in float32 at least.
    """

    @staticmethod
    def forward(ctx: Any, normed: Tensor, x: Tensor, normed_logits: Tensor, logits: Tensor) -> Maps:
        """Four maps B×D×h×w → three."""
        inputs = (normed, x, normed_logits, logits)
        ctx.save_for_backward(*inputs)
        outputs = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
        for rows in row_chunks(x):
            n, f, a, b = (at_least_single(t[rows]) for t in inputs)
            a, b = a.sigmoid(), b.sigmoid()
            outputs[0][rows] = a * n
            outputs[1][rows] = b * f
            outputs[2][rows] = (n + f).mul_(a).mul_(b)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the four maps, in the types and layouts of the maps."""
        inputs = ctx.saved_tensors
        results = tuple(torch.empty_like(t) for t in inputs)
        for rows in row_chunks(inputs[0]):
            n, f, a, b = (at_least_single(t[rows]) for t in inputs)
            a, b = a.sigmoid(), b.sigmoid()
            by_normed, by_purified, by_output = (at_least_single(g[rows]) for g in grads)
            both = by_output * (n + f)  # gradient of a·b
            through = by_output * a * b
            results[0][rows] = torch.addcmul(through, by_normed, a)
            results[1][rows] = torch.addcmul(through, by_purified, b)
            results[2][rows] = torch.ops.aten.sigmoid_backward((both * b).addcmul_(by_normed, n), a)
            results[3][rows] = torch.ops.aten.sigmoid_backward((both * a).addcmul_(by_purified, f), b)
        return results


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
