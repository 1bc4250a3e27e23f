"""Kullback–Leibler divergence from a fixed target distribution, as in knowledge distillation."""

from torch import Tensor, nn

from vireid.losses.choices import Reduction
from vireid.losses.numeric import full_precision


def kl_from_fixed(target: Tensor, logits: Tensor, reduction: Reduction = "batchmean") -> Tensor:
    """KL(sg softmax(target) ‖ softmax(logits)) of two logits (n×C), sg a stop-gradient.

    ``batchmean`` averages over rows, the definition of the divergence; ``mean`` over rows and classes, so that the
    value shrinks with the number of classes.
    """
    log_target = nn.functional.log_softmax(full_precision(target).detach(), dim=1)
    log_p = nn.functional.log_softmax(full_precision(logits), dim=1)
    total = nn.functional.kl_div(log_p, log_target, reduction="sum", log_target=True)
    return total / (len(logits) if reduction == "batchmean" else logits.numel())
