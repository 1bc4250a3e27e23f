"""Random clustered features at the size of SYSU-MM01's all-search test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vireid.core.types import ImageIndex, Modality

DIMENSIONS, IDENTITIES, QUERIES, TRIALS = 2048, 96, 3803, 10
FOLDERS, VISIBLE_PER_FOLDER = 301, 22  # 6,775 visible test images over 301 (camera, identity) folders


def sysu():
    """Features, index and permutations of 3,803 queries and 301 gallery folders."""
    random = np.random.default_rng(0)
    folders = [(camera, identity) for camera in (1, 2, 4, 5) for identity in range(1, IDENTITIES + 1)][:FOLDERS]
    visible = np.array([(c, i, n) for c, i in folders for n in range(1, VISIBLE_PER_FOLDER + 1)])
    infrared = np.stack(
        [random.choice([3, 6], QUERIES), random.integers(1, IDENTITIES + 1, QUERIES), np.arange(QUERIES) + 1], axis=1
    )
    camera, identity, number = np.concatenate([visible, infrared]).T.astype(np.int64)
    modality = np.where(np.isin(camera, [3, 6]), int(Modality.INFRARED), int(Modality.VISIBLE)).astype(np.int64)
    paths = tuple(f"cam{c}/{i:04d}/{n:04d}.jpg" for c, i, n in zip(camera, identity, number, strict=True))
    index = ImageIndex(Path("sysu"), paths, identity, modality, camera, number)
    permutations = {
        folder: np.array([random.permutation(VISIBLE_PER_FOLDER) + 1 for _ in range(TRIALS)]) for folder in folders
    }
    centre = random.normal(size=(IDENTITIES + 1, DIMENSIONS))
    features = (centre[identity] + 6 * random.normal(size=(len(index), DIMENSIONS))).astype(np.float32)
    return features, index, permutations
