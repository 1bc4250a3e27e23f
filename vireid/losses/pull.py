"""Pull of one feature towards another: the attention term of the fork (code quocnhut134/IDKL)."""

from torch import Tensor, nn

from vireid.losses.numeric import full_precision


def feature_pull(feature: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of (feature − target)², both B×D; the target gets no gradient."""
    return nn.functional.mse_loss(full_precision(feature), full_precision(target).detach())
