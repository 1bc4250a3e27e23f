"""Which training images a deployed file is calibrated on: half of each modality, without augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vireid.config import ExperimentConfig
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, Modality
from vireid.data.cache import cached_images
from vireid.data.transforms import normalise
from vireid.experiment.data import PreparedData, cache_directory, workers
from vireid.store import Store


@dataclass(frozen=True, slots=True)
class Calibration:
    """Batches of one image (1×3×H×W, float32), and what a record says of them."""

    images: Sequence[FloatArray]
    said: dict[str, Any]


def calibration_images(
    config: ExperimentConfig, data: PreparedData, store: Store, count: int, modality: Modality | None = None
) -> Calibration:
    """Draw ``count`` training images, a function of the configuration's seed; fewer where there are not as many.

    Args:
        config: of the fit.
        data: its images.
        store: where decoded images are kept.
        count: of images, half of each modality.
        modality: take all of this one instead, for a graph that serves it alone.
    """
    wanted = list(Modality) if modality is None else [modality]
    random = generator(config.training_seed, "calibration", count)
    parts = []
    for kind in wanted:
        rows = np.flatnonzero(data.train.modality == int(kind))
        share = min(len(rows), -(-count // len(wanted)))
        parts.append(random.choice(rows, share, replace=False))
    chosen = data.train.select(np.sort(np.concatenate(parts)))
    height, width = config.data.height, config.data.width
    pixels = cached_images(chosen, height, width, cache_directory(store), workers=workers(config))
    images = [normalise(torch.from_numpy(np.array(image)[None])).numpy() for image in pixels]
    said = {
        "images": len(images),
        "of": f"training, {' and '.join(kind.name.lower() for kind in wanted)}",
        "fingerprint": data.train_fingerprint,
    }
    return Calibration(images, said)
