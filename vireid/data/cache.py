"""Decoded-image cache: one memory-mapped uint8 array N×3×H×W per index, size, reader and resize rule.

Two processes may ask for the same array at once: the first builds under a file lock, the second waits and maps what
the first wrote. The array is written beside its final name and renamed when whole, so a killed builder leaves nothing
that is read as a result (the lock dies with its process).
"""

import fcntl
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from vireid.core.errors import UserError
from vireid.core.types import ByteArray, ImageIndex
from vireid.data.images import READER, read_image
from vireid.data.layout import Progress, fingerprint

RULE = "pillow-bilinear"  # Pillow's BILINEAR: a triangle filter, widened when shrinking (antialiased)


def decode(root: Path, path: str, height: int, width: int) -> ByteArray:
    """Decode one image to uint8 3×H×W (RGB), resized by ``RULE``.

    Raises:
        UserError: missing or unreadable; the path is named.
    """
    image = read_image(root, path)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def cached_images(
    index: ImageIndex,
    height: int,
    width: int,
    cache_dir: Path,
    *,
    workers: int = 4,
    progress: Progress | None = None,
) -> ByteArray:
    """Return the images of ``index`` in its order as a read-only memory map N×3×H×W, decoding them on first use.

    Raises:
        UserError: an image is unreadable, or the cache directory is not writable or full.
    """
    content = fingerprint(index, cache_dir, workers=workers)
    order = "\n".join(index.paths)
    rule = f"{height}x{width}|{RULE}|reader {READER}"
    key = hashlib.blake2b(f"{content}|{rule}|{order}".encode(), digest_size=8).hexdigest()
    shape = (len(index), 3, height, width)
    return built_once(
        cache_dir / "images" / f"{key}.npy",
        shape,
        lambda row: decode(index.root, index.paths[row], height, width),
        workers=workers,
        progress=progress,
    )


def built_once(
    file: Path,
    shape: tuple[int, int, int, int],
    image: Callable[[int], ByteArray],
    *,
    workers: int = 4,
    progress: Progress | None = None,
    whole: Callable[[], None] = lambda: None,
) -> ByteArray:
    """Map an array of images read-only, building it where it is not there.

    Args:
        file: where it lies.
        shape: N×3×H×W.
        image: of a row, uint8 3×H×W; called from threads.
        workers: number of these.
        progress: told of every row.
        whole: called when all rows are written, before the file stands under its name.

    Raises:
        UserError: the directory is not writable or full, or what ``image`` raises.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            with _locked(file.with_suffix(".lock")):
                if not file.is_file():
                    _build(file, shape, image, workers, progress, whole)
    except OSError as error:
        raise UserError(
            f"image cache {file.parent}: {error.strerror or error}; it needs {math.prod(shape) / 2**30:.2f} GiB and "
            "write access: make room or choose another cache directory"
        ) from error
    array: ByteArray = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _build(
    file: Path,
    shape: tuple[int, int, int, int],
    image: Callable[[int], ByteArray],
    workers: int,
    progress: Progress | None,
    whole: Callable[[], None],
) -> None:
    for leftover in file.parent.glob(f"{file.stem}.*.part"):  # of a builder that was killed: we hold its lock now
        leftover.unlink()
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        with part.open("r+b") as stream:  # reserve the room now: a full disk under a memory map is a bus error
            os.posix_fallocate(stream.fileno(), 0, part.stat().st_size)

        def fill(row: int) -> None:
            array[row] = image(row)

        with ThreadPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(fill, range(shape[0])), start=1):
                if progress is not None:
                    progress(done, shape[0])
        array.flush()
        with part.open("rb") as written:
            os.fsync(written.fileno())
        whole()
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
