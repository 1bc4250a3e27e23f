"""``tvi_lfm``: the training transforms of TVI-LFM (Hu et al., NeurIPS 2024; code WHU-HZY/TVI-LFM)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vireid.core.config import Component
from vireid.core.seeding import generator
from vireid.core.types import Modality
from vireid.data.augmentation import Augmented, Key
from vireid.data.augmentation_full import CHANNEL_ERASING
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


class TVILFMAugmentationConfig(Component):
    """Flip and pad-crop, then by view: visible 1 gray and erasing, visible 2 erasing and channel exchange, infrared.

    With ``visible_views`` 2, which TVI-LFM is trained on, the visible rows of the batch come again, as view 2, after
    it; with 1 every visible row draws which of the two it is. Adaptive gray of an infrared image as the released code
    has it: three quarters one channel; of the last quarter the share ``adaptive_gray`` luminance, the rest as it was.
    """

    name: Literal["tvi_lfm"] = "tvi_lfm"
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0)  # pixels
    fill: int = Field(default=0, ge=0, le=255)
    visible_views: Literal[1, 2] = 1
    gray: float = Field(default=0.1, ge=0, le=1)  # of view 1, before normalisation
    visible_erasing: float = Field(default=0.6, ge=0, le=1)
    infrared_erasing: float = Field(default=0.5, ge=0, le=1)
    exchange: float = Field(default=0.5, ge=0, le=1)  # of view 2: all channels become one drawn channel
    adaptive_channel: float = Field(default=0.75, ge=0, le=1)
    adaptive_gray: float = Field(default=0.6, ge=0, le=1)


class TVILFMAugmentation:
    """TVI-LFM's transforms by modality and view."""

    Config = TVILFMAugmentationConfig
    version = "1"

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
