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
from vireid.core.types import IntArray, Modality
from vireid.data.config import CHANNEL_ERASING, BaseConfig, ForkConfig, FullConfig, NoConfig, TVILFMAugmentationConfig
from vireid.data.transforms import (
    LUMINANCE,
    BoolArray,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
    replicate_channel,
)

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
