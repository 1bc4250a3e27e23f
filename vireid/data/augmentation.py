"""Augmentations of a decoded batch: the contract, ``none`` and ``base``.

An augmentation is built as ``Class(config)`` and called as ``augment(images, modality, key, strength)``. Every image
draws its own parameters from a generator of ``key``, so the result is a function of its arguments alone.
"""

from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from vireid.core.seeding import generator
from vireid.data.config import BaseConfig, NoConfig
from vireid.data.transforms import draw_boxes, draw_flip_and_shift, erase, flip_and_shift, normalise

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


class NoAugmentation:
    """Normalisation only; also the transform of evaluation."""

    Config = NoConfig
    version = NoConfig.version

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Normalise; see ``Augmentation``."""
        return single_view(normalise(images))


class BaseAugmentation:
    """Flip, pad-crop and erasing, alike for both modalities."""

    Config = BaseConfig
    version = BaseConfig.version

    def __init__(self, config: BaseConfig) -> None:
        self.config = config

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Augment a batch; see ``Augmentation``."""
        config, random = self.config, generator(*key)
        count, _, height, width = images.shape
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        boxes = draw_boxes(random, count, height, width, config.erasing, strength)
        result = normalise(flip_and_shift(images, flip, shift, config.fill))
        erase(result, boxes, config.erasing.value)
        return single_view(result)
