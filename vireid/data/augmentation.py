"""Augmentations of a decoded batch: the contract, and one class per published training transform.

An augmentation is built as ``Class(config)`` and called as ``augment(images, modality, key, strength)``. Every image
draws its own parameters from a generator of ``key``, so the result is a function of its arguments alone.
"""

from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vireid.core.registry import Configured
from vireid.core.seeding import generator
from vireid.core.types import BoolArray, FloatArray, IntArray, Modality
from vireid.data.config import (
    CHANNEL_ERASING,
    BaseConfig,
    Erasing,
    ForkConfig,
    FullConfig,
    NoConfig,
    TVILFMAugmentationConfig,
)

MEAN = (0.485, 0.456, 0.406)  # ImageNet, for pixels in 0…1
STD = (0.229, 0.224, 0.225)
LUMINANCE = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601


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


def jitter(images: Tensor, factors: FloatArray) -> Tensor:
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


Key = tuple[int | str, ...]


class Augmented(NamedTuple):
    """What an augmentation returns; B′ = B unless it adds views."""

    images: Tensor  # B′×3×H×W, float32, normalised
    view: Tensor  # B′, int64, number of the view of the same image
    rows: Tensor  # B′, int64, the input row of each output; the first B are 0…B−1


class Augmentation(Protocol):
    """The contract of a registered augmentation."""

    version: ClassVar[str]

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:
        """Augment uint8 ``images`` (B×3×H×W, RGB) with ``modality`` (B).

        ``strength`` in 0…1 scales every probability except those of flip and crop (a curriculum ramps it).
        """
        ...


def single_view(images: Tensor) -> Augmented:
    """Wrap normalised images that are one view each."""
    count = len(images)
    return Augmented(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))


class NoAugmentation(Configured[NoConfig]):
    """Normalisation only; also the transform of evaluation."""

    Config = NoConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Normalise; see ``Augmentation``."""
        return single_view(normalise(images))


class BaseAugmentation(Configured[BaseConfig]):
    """Flip, pad-crop and erasing, alike for both modalities."""

    Config = BaseConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Augment a batch; see ``Augmentation``."""
        config, random = self.config, generator(*key)
        count, _, height, width = images.shape
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        boxes = draw_boxes(random, count, height, width, config.erasing, strength)
        result = normalise(flip_and_shift(images, flip, shift, config.fill))
        erase(result, boxes, config.erasing.value)
        return single_view(result)


class FullAugmentation(Configured[FullConfig]):
    """Channel augmentation after CAJ (Ye et al., ICCV 2021) by modality and view, with flip, pad-crop and jitter."""

    Config = FullConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:
        """Augment a batch; see ``Augmentation``."""
        config, random = self.config, generator(*key)
        visible = modality.numpy() == int(Modality.VISIBLE)
        rows = torch.arange(len(images))
        view = torch.zeros(len(images), dtype=torch.int64)
        second = visible & (random.random(len(images)) < config.second_view)
        if config.visible_views == 2:
            again = torch.from_numpy(np.flatnonzero(visible))
            rows = torch.cat([rows, again])
            view = torch.cat([view, torch.ones(len(again), dtype=torch.int64)])
            images = images[rows]
            second = view.numpy() == 1
            visible = visible[rows.numpy()]
        count, _, height, width = images.shape
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        jittered = np.flatnonzero(random.random(count) < config.jitter * strength)
        spread = np.array([config.brightness, config.contrast, config.saturation])
        factors = 1 + spread * random.uniform(-1, 1, (count, 3))
        boxes = draw_boxes(random, count, height, width, config.erasing, strength)
        channel = self._draw_channel(random, visible, second, strength)

        moved = flip_and_shift(images, flip, shift, config.fill)
        if len(jittered):
            moved[torch.from_numpy(jittered)] = jitter(moved[torch.from_numpy(jittered)], factors[jittered])
        result = normalise(moved)
        erase(result, boxes, config.erasing.value)
        replicate_channel(result, channel)
        return Augmented(result, view, rows)

    def _draw_channel(
        self, random: np.random.Generator, visible: BoolArray, second: BoolArray, strength: float
    ) -> IntArray:
        """Source channel of each image: 0…2, 3 for luminance, −1 for none."""
        config = self.config
        u = random.random(len(visible)) / max(strength, np.finfo(float).tiny)
        one = np.where(visible, second & (u < config.exchange), u < config.infrared_channel)
        gray = ~visible & ~one & (u < config.infrared_channel + config.infrared_gray)
        drawn = random.integers(0, 3, len(visible))
        return np.where(one, drawn, np.where(gray, 3, -1))


class ForkAugmentation(Configured[ForkConfig]):
    """The transform of the "optimized" IDKL fork as its code has it (quocnhut134/IDKL), alike for both modalities.

    The jitter comes before padding, so that the filling keeps its value. torchvision applies brightness, contrast and
    saturation in an order that it draws; the three commute but for rounding and clipping, so the order is fixed here.
    """

    Config = ForkConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Augment a batch; see ``Augmentation``."""
        config, random = self.config, generator(*key)
        count, _, height, width = images.shape
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        jittered = torch.from_numpy(np.flatnonzero(random.random(count) < config.jitter * strength))
        spread = np.array([config.brightness, config.contrast, config.saturation])
        factors = 1 + spread * random.uniform(-1, 1, (count, 3))
        boxes = draw_boxes(random, count, height, width, config.erasing, strength)
        channel_boxes = draw_boxes(random, count, height, width, config.channel_erasing, strength)

        if len(jittered):
            images = images.clone()
            images[jittered] = jitter(images[jittered], factors[jittered.numpy()])
        result = normalise(flip_and_shift(images, flip, shift, config.fill))
        erase(result, boxes, config.erasing.value)
        erase(result, channel_boxes, config.channel_erasing.value)
        return single_view(result)


BOXES = CHANNEL_ERASING.model_copy(update={"probability": 1.0})  # whose images are erased is drawn by modality


class TVILFMAugmentation(Configured[TVILFMAugmentationConfig]):
    """TVI-LFM's transforms by modality and view (Hu et al., NeurIPS 2024; code WHU-HZY/TVI-LFM)."""

    Config = TVILFMAugmentationConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:
        """Augment a batch; see ``Augmentation``."""
        config, random = self.config, generator(*key)
        rows = torch.arange(len(images))
        view = torch.zeros(len(images), dtype=torch.int64)
        visible = modality.numpy() == int(Modality.VISIBLE)
        second = visible & (random.random(len(images)) < 0.5)
        if config.visible_views == 2:
            again = torch.from_numpy(np.flatnonzero(visible))
            rows = torch.cat([rows, again])
            view = torch.cat([view, torch.ones(len(again), dtype=torch.int64)])
            visible, second = visible[rows.numpy()], view.numpy() == 1
        count, _, height, width = len(rows), *images.shape[1:]
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        gray = visible & ~second & (random.random(count) < config.gray * strength)
        boxes = draw_boxes(random, count, height, width, BOXES)
        erased = random.random(count) < np.where(visible, config.visible_erasing, config.infrared_erasing) * strength
        boxes[~erased] = 0
        exchanged = second & (random.random(count) < config.exchange * strength)
        one = ~visible & (random.random(count) < config.adaptive_channel * strength)
        luminance = ~visible & ~one & (random.random(count) < config.adaptive_gray * strength)
        channel = np.where(exchanged | one, random.integers(0, 3, count), np.where(luminance, 3, -1))

        moved = flip_and_shift(images.index_select(0, rows), flip, shift, config.fill)
        if gray.any():
            chosen = torch.from_numpy(np.flatnonzero(gray))
            moved[chosen] = _gray(moved[chosen])
        result = normalise(moved)
        erase(result, boxes, BOXES.value)
        replicate_channel(result, channel)
        return Augmented(result, view, rows)


def _gray(images: Tensor) -> Tensor:
    """Luminance in all three channels: uint8 B×3×H×W."""
    weights = torch.tensor(LUMINANCE).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).round_().to(torch.uint8).expand_as(images)
