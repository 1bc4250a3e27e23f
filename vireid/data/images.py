"""The one image reader: a file, or one row of a stored array (``file.npy#row``), as eight-bit RGB.

Eight-bit grey, colour, palette and CMYK images and bitmaps are converted; images with an EXIF orientation are turned as
viewers show them; an alpha channel is dropped where it is opaque. All else has no one conversion and is refused: more
than eight bits a channel (whose range the reader would have to guess), floating point, and transparency.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from vireid.core.errors import UserError
from vireid.core.types import Array

READER = "2"  # raised when a file may give other pixels than before: caches of decoded images carry it
_ARRAY = ".npy#"
_CONVERTED = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation, the turn that puts the image upright


class UnreadableImageError(UserError):
    """An image file that is missing, damaged or no image."""


class RefusedImageError(UserError):
    """An image file whose pixels have no one conversion to eight bits; ``kind`` names them in few words."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Header(NamedTuple):
    """What an image file says of itself before its pixels are decoded."""

    mode: str  # Pillow's name of the pixels in the file
    width: int  # as they are stored
    height: int
    orientation: int  # EXIF's; 1 where the image is upright or the file does not say


def file_of(path: str) -> str:
    """Return the file that an index path lies in (``train.npy#7`` lies in ``train.npy``)."""
    return _split(path)[0]


def row_path(file: str, row: int) -> str:
    """Return the index path of a row of a stored array."""
    return f"{file.removesuffix('.npy')}{_ARRAY}{row}"


def read_header(root: Path, path: str) -> Header:
    """Read what an image file says of itself, and refuse what ``read_image`` would refuse by that alone.

    Raises:
        UnreadableImageError: missing, or no image.
        RefusedImageError: pixels of more than eight bits, or floating point.
    """
    with _opened(root / path) as image:
        _refuse_depth(image, root / path)
        return Header(image.mode, image.width, image.height, _orientation(image))


def read_image(root: Path, path: str) -> Image.Image:
    """Decode one image of an index to RGB; grey images get three equal channels.

    Raises:
        UnreadableImageError: missing, truncated or no image; the message names its path.
        RefusedImageError: its pixels have no one conversion to eight-bit RGB.
    """
    name, row = _split(path)
    file = root / name
    if row is not None:
        return Image.fromarray(open_array(file)[row])
    with _opened(file) as image:
        _refuse_depth(image, file)
        image.load()  # TIFF is turned by this already, and says so from here on
        turn = _TURNS.get(_orientation(image))
        alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
        colours = _opaque(image, file) if alpha else image.convert("RGB")
        return colours if turn is None else colours.transpose(turn)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            yield image
    except FileNotFoundError as error:
        raise UnreadableImageError(f"image {file} is missing: restore it from the dataset's archive") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UnreadableImageError(
            f"image {file} cannot be read ({error}): restore it from the dataset's archive "
            "(`vireid data check ROOT --decode` lists every such file)"
        ) from error


def _split(path: str) -> tuple[str, int | None]:
    head, mark, row = path.rpartition(_ARRAY)
    return (f"{head}.npy", int(row)) if mark else (path, None)


def _refuse_depth(image: Image.Image, file: Path) -> None:
    layout = _stored_as(image)
    # Pillow keeps the upper byte of sixteen-bit colours without a word. BGR;16 is a pixel of 5, 6 and 5 bits.
    deep = ";16" in layout and not layout.startswith("BGR")
    if (image.mode in _CONVERTED or image.mode in _WITH_ALPHA) and not deep:
        return
    if image.mode == "F":
        kind = "floating-point"
    elif deep or image.mode.startswith("I;16"):
        kind = "16-bit"
    else:
        kind = "32-bit" if image.mode == "I" else image.mode
    span, example = "", "rescale all images of the dataset by one rule"
    if image.mode[0] in "IF":
        values = np.asarray(image)
        low, high = values.min(), values.max()
        span = f", values {low:.7g}–{high:.7g}"
        example = f"for example np.clip((a - {low:.7g}) / {max(high - low, 1):.7g} * 255, 0, 255).astype(np.uint8)"
    raise RefusedImageError(
        f"image {file} is {kind} (mode {image.mode}{span}): which of these values are black and white is for you to "
        f"say, by one rule for the whole dataset; write eight-bit images first, {example}",
        kind,
    )


def _stored_as(image: Image.Image) -> str:
    """Pillow's name of the layout in the file, such as ``RGB;16B``; empty where the format does not say."""
    tiles: list[Any] = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    name = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return name if isinstance(name, str) else ""


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata fail in any way; viewers show such an image as it is stored
        return 1
    return orientation if orientation in _TURNS else 1


def _opaque(image: Image.Image, file: Path) -> Image.Image:
    rgba = image.convert("RGBA")
    if np.asarray(rgba.getchannel("A")).min() < 255:
        raise RefusedImageError(
            f"image {file} is partly transparent (mode {image.mode}), and what shows through is for you to say: write "
            "it without alpha first, for example over black with "
            "Image.alpha_composite(Image.new('RGBA', a.size, 'black'), a.convert('RGBA')).convert('RGB')",
            "transparent",
        )
    return rgba.convert("RGB")


@lru_cache(maxsize=8)
def open_array(file: Path) -> Array:
    """Memory-map a stored array N×H×W×3 of uint8.

    Raises:
        UserError: missing, damaged, pickled, or of another shape or type.
    """
    array = load_plain(file)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
        raise UserError(f"{file} holds {array.dtype} of shape {array.shape}: expected uint8 N×H×W×3; write it again")
    return array


def load_plain(file: Path) -> Array:
    """Memory-map a ``.npy`` file without ever unpickling it.

    Raises:
        UserError: missing, damaged or pickled.
    """
    try:
        array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"array {file} is missing: write the four train_*_resized_*.npy files again") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"array {file} cannot be read ({error}): write it again as plain numbers") from error
    return array
