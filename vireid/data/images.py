"""Reading one image: a file, or one row of a stored array (``file.npy#row``)."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vireid.core.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
ROW_MARK = "#"


def file_of(path: str) -> str:
    """Return the file that an index path lies in (``train.npy#7`` lies in ``train.npy``)."""
    return path.partition(ROW_MARK)[0]


def read_image(root: Path, path: str) -> Image.Image:
    """Decode one image of an index to RGB; grey images get three equal channels.

    Raises:
        UserError: the file is missing, truncated or no image; the message names its path.
    """
    name, _, row = path.partition(ROW_MARK)
    file = root / name
    if row:
        return Image.fromarray(open_array(file)[int(row)])
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"image {file} is missing: restore it from the dataset's archive") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(
            f"image {file} cannot be read ({error}): restore it from the dataset's archive "
            "(`vireid data check ROOT --decode` lists every such file)"
        ) from error


@lru_cache(maxsize=8)
def open_array(file: Path) -> npt.NDArray[Any]:
    """Memory-map a stored array N×H×W×3 of uint8.

    Raises:
        UserError: missing, damaged, pickled, or of another shape or type.
    """
    array = load_plain(file)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
        raise UserError(f"{file} holds {array.dtype} of shape {array.shape}: expected uint8 N×H×W×3; write it again")
    return array


def load_plain(file: Path) -> npt.NDArray[Any]:
    """Memory-map a ``.npy`` file without ever unpickling it.

    Raises:
        UserError: missing, damaged or pickled.
    """
    try:
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"array {file} is missing: write the four train_*_resized_*.npy files again") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"array {file} cannot be read ({error}): write it again as plain numbers") from error
    return array
