"""``full``: channel augmentation after CAJ (Ye et al., ICCV 2021) with colour jitter."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vireid.core.config import Component
from vireid.core.seeding import generator
from vireid.core.types import IntArray, Modality
from vireid.data.augmentation import Augmented, Key
from vireid.data.transforms import (
    BoolArray,
    Erasing,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
    replicate_channel,
)

CHANNEL_ERASING = Erasing(
    area=(0.02, 0.4),
    ratio=(0.3, 1 / 0.3),
    ratio_law="uniform",
    attempts=100,
    value=(0.4914, 0.4822, 0.4465),
)


class FullConfig(Component):
    """CAJ's three transforms; erasing, exchange and gray act on normalised pixels, jitter before.

    A visible row shows view 1 (erasing) or view 2 (erasing and channel exchange). With ``visible_views`` 1 every
    visible row draws which of the two it is; with 2 the visible rows of the batch come again, as view 2, after it.
    The probability of gray is that of CAJ's code: three quarters one channel, an eighth luminance, an eighth neither.
    """

    name: Literal["full"] = "full"
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)  # pixels
    fill: int = Field(default=127, ge=0, le=255)
    erasing: Erasing = CHANNEL_ERASING
    visible_views: Literal[1, 2] = 1
    second_view: float = Field(default=0.5, ge=0, le=1)  # share of view 2 where visible_views is 1
    exchange: float = Field(default=1.0, ge=0, le=1)  # of a view-2 image: all channels become one drawn channel
    infrared_channel: float = Field(default=0.75, ge=0, le=1)  # of an infrared image: the same
    infrared_gray: float = Field(default=0.125, ge=0, le=1)  # of an infrared image: all channels become luminance
    jitter: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.2, ge=0, lt=1)  # factor uniform in 1 − x … 1 + x
    contrast: float = Field(default=0.2, ge=0, lt=1)
    saturation: float = Field(default=0.2, ge=0, lt=1)


class FullAugmentation:
    """Flip, pad-crop, jitter and CAJ's channel operations by modality and view."""

    Config = FullConfig
    version = "1"

    def __init__(self, config: FullConfig) -> None:
        self.config = config

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
