"""Cross-entropy over classes: the identity term, and the modality term of a two-way head."""

from torch import Tensor, nn

from vireid.losses.numeric import full_precision


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0, spread: int | None = None) -> Tensor:
    """Mean cross-entropy of logits (B×C) against labels (B), with label smoothing (Szegedy et al., CVPR 2016).

    The target is (1−ε) on the true class plus ε/n on every class. n is C, the class count of *this* head, or
    ``spread``, with which the target no longer sums to 1 (the fork's two-way heads: n = number of identities).
    """
    logits = full_precision(logits)
    if spread is None or not smoothing:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    log_p = nn.functional.log_softmax(logits, dim=1)
    return (1 - smoothing) * nn.functional.nll_loss(log_p, labels) - smoothing / spread * log_p.sum(dim=1).mean()
