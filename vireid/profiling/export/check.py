"""Numerical check of an exported graph against eager PyTorch."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError

TOLERANCE = 1e-4  # relative, see ``difference``
BATCHES = (1, 2, 5)  # images; more than one number, so that a batch size baked into a graph shows


def difference(features: Tensor, reference: Tensor) -> float:
    """Largest error of any value, relative to the root mean square of its image's feature: N×D, twice → one number.

    At least as strict as the relative Euclidean distance of the features. NaN where either holds one; infinite where
    shapes differ.
    """
    if features.shape != reference.shape:
        return float("inf")
    expected = reference.double()
    scale = expected.square().mean(dim=1).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    return float(((features.double() - expected).abs().amax(dim=1) / scale).max())


def check_images(count: int, height: int, width: int) -> Tensor:
    """Images (N×3×H×W, float32) whose pixels are as normalised ones are spread; the same at every call."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, height, width, generator=generator)


def largest_difference(
    run: Callable[[Tensor], Tensor], module: nn.Module, height: int, width: int, batches: Sequence[int] = BATCHES
) -> float:
    """Largest ``difference`` of ``run`` (B×3×H×W → B×D) to ``module`` in eager mode over batches; NaN if one is."""
    eager = deepcopy(module).to("cpu").eval()
    found = []
    for count in batches:
        images = check_images(count, height, width)
        with torch.inference_mode():
            expected = eager(images)
        found.append(difference(run(images), expected))
    return float(torch.tensor(found, dtype=torch.float64).max())  # unlike Python's max, NaN wins


def check_equal(
    run: Callable[[Tensor], Tensor],
    module: nn.Module,
    height: int,
    width: int,
    what: str,
    *,
    remedy: str,
    batches: Sequence[int] = BATCHES,
) -> float:
    """Refuse a graph whose features are not those of ``module``; else their ``largest_difference``.

    Raises:
        UserError: it is above ``TOLERANCE``, or not a number; ``what`` opens the message and ``remedy`` ends it.
    """
    worst = largest_difference(run, module, height, width, batches)
    if not worst <= TOLERANCE:
        raise UserError(
            f"{what}: features differ from those of eager PyTorch by {worst:.1e} (relative, batches of "
            f"{', '.join(map(str, batches))} images of {height}×{width}), more than {TOLERANCE:.0e}; {remedy}"
        )
    return worst
