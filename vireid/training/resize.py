"""Images of a stage that trains at a share of the resolution."""

import torch.nn.functional as F
from torch import Tensor


def scaled(images: Tensor, scale: float) -> Tensor:
    """B×3×H×W → B×3×h×w with h = H·scale and w = W·scale, rounded: bilinear, averaging where it shrinks."""
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
