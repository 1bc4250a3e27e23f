from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vireid.core.types import Batch, Modality


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """P identities × K images as the sampler gives them: infrared first, alternating.

    Further views of the visible rows come after them, as an augmentation adds them.
    """

    def make(
        identities: int = 4, images: int = 4, height: int = 64, width: int = 32, seed: int = 0, views: int = 1
    ) -> Batch:
        count = identities * images
        modality = torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)]).repeat(count // 2)
        visible = (modality == int(Modality.VISIBLE)).nonzero()[:, 0]
        rows = torch.cat([torch.arange(count), *[visible] * (views - 1)])
        return Batch(
            images=torch.randn(len(rows), 3, height, width, generator=torch.Generator().manual_seed(seed)),
            labels=torch.arange(identities).repeat_interleave(images)[rows],
            modality=modality[rows],
            camera=torch.zeros(len(rows), dtype=torch.long),
            view=torch.arange(views).repeat_interleave(torch.tensor([count, *[len(visible)] * (views - 1)])),
        )

    return make
