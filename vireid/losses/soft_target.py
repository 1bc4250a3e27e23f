"""Cross-entropy against the softmax of other logits, as CAJ+ (Ye et al., TPAMI 2023) compares two views of an image."""

from torch import Tensor, nn

from vireid.losses.numeric import full_precision


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """Mean over rows of −Σ sg softmax(target)·log softmax(logits) of two logits (n×C), sg a stop-gradient."""
    probabilities = nn.functional.softmax(full_precision(target).detach(), dim=1)
    return nn.functional.cross_entropy(full_precision(logits), probabilities)
