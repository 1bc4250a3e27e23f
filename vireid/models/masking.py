"""The purifier's masks applied to its maps: one pass over memory each way for training on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vireid.models.row_chunks import at_least_single, row_chunks

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
