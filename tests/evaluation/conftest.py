from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vireid.core.types import ImageIndex, IntArray, Modality

IDENTITIES = (6, 10, 17, 21)
IMAGES = 12
VISIBLE_CAMERAS, INFRARED_CAMERAS = (1, 2, 4, 5), (3, 6)
ABSENT = {(2, 10), (4, 21)}  # (camera, identity) pairs that do not exist


def make_index(identities=IDENTITIES, absent=frozenset(ABSENT), shuffle=True) -> ImageIndex:
    """A miniature SYSU-MM01 split, in an order that no protocol may rely on."""
    entries = [
        (camera, identity, number)
        for camera in (1, 2, 3, 4, 5, 6)
        for identity in identities
        if (camera, identity) not in absent
        for number in range(1, IMAGES + 1)
    ]
    if shuffle:
        np.random.default_rng(5).shuffle(entries)
    camera, identity, number = np.array(entries, dtype=np.int64).T
    return ImageIndex(
        root=Path("/data/SYSU-MM01"),
        paths=tuple(f"cam{c}/{i:04d}/{n:04d}.jpg" for c, i, n in entries),
        identity=identity,
        modality=np.where(np.isin(camera, INFRARED_CAMERAS), Modality.INFRARED, Modality.VISIBLE).astype(np.int64),
        camera=camera,
        number=number,
    )


@pytest.fixture
def index() -> ImageIndex:
    return make_index()


@pytest.fixture
def permutations() -> dict[tuple[int, int], IntArray]:
    """Of all identities of the data set, those of other splits included, as in the real file."""
    random = np.random.default_rng(1)
    return {
        (camera, identity): np.empty((10, 0), dtype=np.int64)
        if (camera, identity) in ABSENT
        else np.array([random.permutation(IMAGES) + 1 for _ in range(10)])
        for camera in range(1, 7)
        for identity in (*IDENTITIES, 1, 2, 333)
    }
