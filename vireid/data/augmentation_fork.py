"""``fork``: the training transform of the "optimized" IDKL fork as its code has it (quocnhut134/IDKL)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vireid.core.config import Component
from vireid.core.seeding import generator
from vireid.data.augmentation import Augmented, Key, single_view
from vireid.data.augmentation_full import CHANNEL_ERASING
from vireid.data.transforms import (
    Erasing,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
)


class ForkConfig(Component):
    """Flip, colour jitter, pad and crop on pixels; two random erasings, one over the other, on normalised pixels.

    The first is torchvision's with areas up to 0.4, filled with 0, which is the mean colour. The second is CAJ's: its
    filling looks like a mean colour of pixels in 0…1 but is written after normalisation.
    """

    name: Literal["fork"] = "fork"
    flip: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=1.0, ge=0, le=1)
    brightness: float = Field(default=0.1, ge=0, lt=1)  # factor uniform in 1 − x … 1 + x
    contrast: float = Field(default=0.1, ge=0, lt=1)
    saturation: float = Field(default=0.1, ge=0, lt=1)
    pad: int = Field(default=10, ge=0)  # pixels
    fill: int = Field(default=127, ge=0, le=255)
    erasing: Erasing = Erasing(area=(0.02, 0.4))
    channel_erasing: Erasing = CHANNEL_ERASING


class ForkAugmentation:
    """The same operations for both modalities, every image with its own parameters.

    The jitter comes before padding, so that the filling keeps its value. torchvision applies brightness, contrast and
    saturation in an order that it draws; the three commute but for rounding and clipping, so the order is fixed here.
    """

    Config = ForkConfig
    version = "1"

    def __init__(self, config: ForkConfig) -> None:
        self.config = config

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
