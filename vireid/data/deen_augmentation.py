"""DEEN's training transform (Zhang and Wang, CVPR 2023; code ZYK100/LLCM)."""

import numpy as np
import torch
from torch import Tensor

from vireid.core.registry import Configured
from vireid.core.seeding import generator
from vireid.data.augmentation import (
    Augmented,
    Key,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    jitter,
    normalise,
    single_view,
)
from vireid.data.deen_config import DEENAugmentationConfig

_TO_GRAY = (1.0, 1.0, 0.0)  # factors of brightness, contrast and saturation that leave luminance alone


class DEENAugmentation(Configured[DEENAugmentationConfig]):
    """Gray, flip, pad-crop and erasing; one view of every image."""

    Config = DEENAugmentationConfig

    def __call__(self, images: Tensor, modality: Tensor, key: Key, strength: float = 1.0) -> Augmented:  # noqa: ARG002
        """Augment a batch; see ``vireid.data.augmentation.Augmentation``."""
        config, random = self.config, generator(*key)
        count, _, height, width = images.shape
        flip, shift = draw_flip_and_shift(random, count, config.flip, config.pad)
        gray = torch.from_numpy(np.flatnonzero(random.random(count) < config.gray * strength))
        boxes = draw_boxes(random, count, height, width, config.erasing, strength)
        if len(gray):
            images = images.clone()
            images[gray] = jitter(images[gray], np.tile(_TO_GRAY, (len(gray), 1)))
        result = normalise(flip_and_shift(images, flip, shift, config.fill))
        erase(result, boxes, config.erasing.value)
        return single_view(result)
