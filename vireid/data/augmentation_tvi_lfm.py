"""``tvi_lfm``: the training transforms of TVI-LFM (Hu et al., NeurIPS 2024; code WHU-HZY/TVI-LFM)."""

import numpy as np
import torch
from torch import Tensor

from vireid.core.seeding import generator
from vireid.core.types import Modality
from vireid.data.augmentation import Augmented, Key
from vireid.data.config import CHANNEL_ERASING, TVILFMAugmentationConfig
from vireid.data.transforms import (
    LUMINANCE,
    draw_boxes,
    draw_flip_and_shift,
    erase,
    flip_and_shift,
    normalise,
    replicate_channel,
)

BOXES = CHANNEL_ERASING.model_copy(update={"probability": 1.0})  # whose images are erased is drawn by modality


class TVILFMAugmentation:
    """TVI-LFM's transforms by modality and view."""

    Config = TVILFMAugmentationConfig
    version = TVILFMAugmentationConfig.version

    def __init__(self, config: TVILFMAugmentationConfig) -> None:
        self.config = config

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
