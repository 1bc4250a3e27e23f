from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vireid.core.types import Batch, Modality


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """P identities × K images as the sampler gives them: infrared first, alternating."""

    def make(identities: int = 4, images: int = 4, height: int = 64, width: int = 32, seed: int = 0) -> Batch:
        count = identities * images
        generator = torch.Generator().manual_seed(seed)
        return Batch(
            images=torch.randn(count, 3, height, width, generator=generator),
            labels=torch.arange(identities).repeat_interleave(images),
            modality=torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)]).repeat(count // 2),
            camera=torch.zeros(count, dtype=torch.long),
            view=torch.zeros(count, dtype=torch.long),
        )

    return make
