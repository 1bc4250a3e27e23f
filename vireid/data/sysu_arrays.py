"""SYSU-MM01's pre-processed training arrays ``train_{rgb,ir}_resized_{img,label}.npy``, as many releases write them.

Images are N×H×W×3 (RGB, uint8), labels 0…394 in the order of the sorted train and val identities. The files hold no
camera, so the camera field is 0 (unknown). Arrays are opened without unpickling and memory-mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data.images import load_plain, open_array, row_path
from vireid.data.layout import Entry

NAMES = {Modality.VISIBLE: "rgb", Modality.INFRARED: "ir"}


def has_arrays(root: Path) -> bool:
    """Whether the two image arrays lie in ``root``."""
    return all((root / f"train_{name}_resized_img.npy").is_file() for name in NAMES.values())


def array_entries(root: Path, everyone: Sequence[int], wanted: frozenset[int]) -> list[Entry]:
    """Return the entries of the ``wanted`` identities; ``everyone`` are the sorted identities that labels count.

    Raises:
        UserError: an array is missing, damaged or pickled, or labels do not fit the images or the split files.
    """
    entries = []
    for modality, name in NAMES.items():
        image_file, label_file = (root / f"train_{name}_resized_{kind}.npy" for kind in ("img", "label"))
        count = len(open_array(image_file))
        labels = load_plain(label_file).reshape(-1)
        if len(labels) != count:
            raise UserError(f"{label_file} has {len(labels)} labels for the {count} images of {image_file.name}")
        if not np.issubdtype(labels.dtype, np.integer):
            raise UserError(f"{label_file} holds {labels.dtype}: expected integer labels; write it again")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(everyone)):
            raise UserError(
                f"{label_file} has labels from {labels.min()} to {labels.max()}, but exp/train_id.txt and "
                f"exp/val_id.txt name {len(everyone)} identities: take both from the same release"
            )
        for row, label in enumerate(labels.tolist()):
            if everyone[label] in wanted:
                entries.append(Entry(row_path(image_file.name, row), everyone[label], modality, camera=0))
    return entries
