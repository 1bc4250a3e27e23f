"""``fork``: the training transform of the "optimized" IDKL fork as its code has it (quocnhut134/IDKL)."""

import numpy as np
import torch
from torch import Tensor

from vireid.core.seeding import generator
from vireid.data.augmentation import Augmented, Key, single_view
from vireid.data.config import ForkConfig
from vireid.data.transforms import (
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
)


class ForkAugmentation:
    """The same operations for both modalities, every image with its own parameters.

    The jitter comes before padding, so that the filling keeps its value. torchvision applies brightness, contrast and
    saturation in an order that it draws; the three commute but for rounding and clipping, so the order is fixed here.
    """

    Config = ForkConfig
    version = ForkConfig.version

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
