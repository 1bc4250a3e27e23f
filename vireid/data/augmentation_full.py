"""``full``: channel augmentation after CAJ (Ye et al., ICCV 2021) with colour jitter."""

import numpy as np
import torch
from torch import Tensor

from vireid.core.seeding import generator
from vireid.core.types import IntArray, Modality
from vireid.data.augmentation import Augmented, Key
from vireid.data.config import FullConfig
from vireid.data.transforms import (
    BoolArray,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
    replicate_channel,
)


class FullAugmentation:
    """Flip, pad-crop, jitter and CAJ's channel operations by modality and view."""

    Config = FullConfig
    version = FullConfig.version

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
