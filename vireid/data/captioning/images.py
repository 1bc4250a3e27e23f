"""The images of a dataset that are to be described, and whose they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data import DATASETS
from vireid.data.check import detect
from vireid.data.layout import Layout


def images_of(root: Path, modality: Modality) -> list[str]:
    """Sorted paths, relative to ``root``, of every training and test image of a modality.

    Raises:
        UserError: no known layout, or broken split files.
    """
    layout_class = DATASETS.load(detect(root))
    layout: Layout = layout_class(layout_class.Config(), root)
    paths: set[str] = set()
    for index in (layout.training("final"), layout.evaluation("test")):
        paths.update(index.paths[row] for row in np.flatnonzero(index.modality == modality).tolist())
    return sorted(paths)


def person_of(path: str) -> str:
    """The person on an image, from the folder that it lies in: in all three layouts a number.

    Raises:
        UserError: the folder is not a number.
    """
    folder = path.split("/")[-2] if "/" in path else ""
    if not folder.isdigit():
        raise UserError(f"image {path} lies in no folder that is numbered by identity")
    return str(int(folder))
