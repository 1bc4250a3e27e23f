"""Batched image operations in which every image has its own parameters; all draws are vectorised NumPy.

Shape legend: B images, 3×H×W pixels; parameter arrays have one row per image.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vireid.core.types import IntArray
from vireid.data.config import Erasing

MEAN = (0.485, 0.456, 0.406)  # ImageNet, for pixels in 0…1
STD = (0.229, 0.224, 0.225)
LUMINANCE = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601
BoolArray = npt.NDArray[np.bool_]


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 B×3×H×W into float32 with ImageNet's mean and deviation."""
    scale = torch.tensor([1 / (255 * s) for s in STD]).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).view(1, 3, 1, 1)
    return torch.mul(images, scale).add_(shift)


def flip_and_shift(images: Tensor, flip: BoolArray, shift: IntArray, fill: int) -> Tensor:
    """Mirror images left-right where ``flip``, then move each by ``shift`` (B×2: rows, columns) over ``fill``.

    Equals padding by ``p`` and cropping at ``p + shift`` for any ``|shift| ≤ p``: output pixel (y, x) is input pixel
    (y + shift_y, x + shift_x), or ``fill`` outside. Images are uint8 B×3×H×W.
    """
    height, width = images.shape[2:]
    out = torch.empty_like(images)
    for image, target, mirrored, (dy, dx) in zip(images, out, flip.tolist(), shift.tolist(), strict=True):
        top, bottom = max(-dy, 0), height - max(dy, 0)
        left, right = max(-dx, 0), width - max(dx, 0)
        target[:, :top] = fill
        target[:, bottom:] = fill
        target[:, top:bottom, :left] = fill
        target[:, top:bottom, right:] = fill
        rows = slice(top + dy, bottom + dy)
        if mirrored:
            part = image[:, rows, width - (right + dx) : width - (left + dx)].flip(2)
        else:
            part = image[:, rows, left + dx : right + dx]
        target[:, top:bottom, left:right] = part
    return out


def draw_flip_and_shift(
    random: np.random.Generator, count: int, flip_probability: float, pad: int
) -> tuple[BoolArray, IntArray]:
    """Draw parameters of ``flip_and_shift`` for ``count`` images; shifts are uniform over −pad…pad."""
    flip = random.random(count) < flip_probability
    return flip, random.integers(-pad, pad, size=(count, 2), endpoint=True)


def draw_boxes(
    random: np.random.Generator, count: int, height: int, width: int, config: Erasing, strength: float = 1.0
) -> IntArray:
    """Draw erasing boxes B×4 (top, left, height, width); height and width are 0 where nothing is erased."""
    gate = random.random(count) < config.probability * strength
    area = random.uniform(*config.area, size=(count, config.attempts)) * (height * width)
    if config.ratio_law == "uniform":
        ratio = random.uniform(*config.ratio, size=(count, config.attempts))
    else:
        low, high = np.log(config.ratio).tolist()
        ratio = np.exp(random.uniform(low, high, size=(count, config.attempts)))
    corner = random.random((count, 2))
    heights = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    widths = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (heights < height) & (widths < width)
    first = np.arange(count), fits.argmax(axis=1)
    erased = gate & fits.any(axis=1)
    h, w = np.where(erased, heights[first], 0), np.where(erased, widths[first], 0)
    top, left = (corner * np.stack([height - h + 1, width - w + 1], axis=1)).astype(np.int64).T
    return np.stack([top, left, h, w], axis=1)


def erase(images: Tensor, boxes: IntArray, value: tuple[float, float, float]) -> None:
    """Write ``value`` (per channel) into each image's box, in place."""
    filling = torch.tensor(value, dtype=images.dtype).view(3, 1, 1)
    for row in np.flatnonzero(boxes[:, 2] * boxes[:, 3]).tolist():
        top, left, h, w = boxes[row].tolist()
        images[row, :, top : top + h, left : left + w] = filling


def replicate_channel(images: Tensor, channel: IntArray) -> None:
    """Give all channels of an image the values of one of them, in place; −1 leaves it as it is, 3 is luminance.

    The operation of channel exchange and channel-adaptive gray (Ye et al., CAJ, ICCV 2021), on normalised images.
    """
    weights = torch.tensor(LUMINANCE, dtype=images.dtype)
    for row in np.flatnonzero(channel >= 0).tolist():
        chosen, image = int(channel[row]), images[row]
        if chosen == 3:
            image[:] = torch.tensordot(weights, image, dims=1)
        else:
            for other in {0, 1, 2} - {chosen}:
                image[other] = image[chosen]


def jitter(images: Tensor, factors: npt.NDArray[np.float64]) -> Tensor:
    """Scale brightness, contrast and saturation of uint8 images, B×3×H×W, by ``factors`` (B×3); returns uint8.

    The definitions are torchvision's (blending with black, with the mean luminance, with the luminance), in this
    order. The three are affine, so they are applied as one 3×3 colour matrix; only the result is clipped to 0…255.
    """
    count, _, height, width = images.shape
    brightness, contrast, saturation = torch.from_numpy(factors).float().T.reshape(3, count, 1, 1)
    gray = torch.tensor(LUMINANCE).repeat(3, 1)  # every row gives the luminance
    saturate = saturation * torch.eye(3) + (1 - saturation) * gray
    pixels = images.reshape(count, 3, -1).float()
    mean = brightness * torch.einsum("c,bc->b", gray[0], pixels.mean(dim=2)).view(count, 1, 1)
    shift = saturate @ ((1 - contrast) * mean).expand(count, 3, 1)
    moved = torch.baddbmm(shift, saturate * (brightness * contrast), pixels)
    return moved.round_().clamp_(0, 255).to(torch.uint8).view(count, 3, height, width)
