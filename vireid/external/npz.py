"""Arrays that a user hands over in ``.npz`` files: read piece by piece, checked, every fault named."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vireid.core.errors import UserError, did_you_mean
from vireid.losses.terms import ARRAYS, evaluate_terms
from vireid.models.importers import IMPORTERS

Array = npt.NDArray[Any]
_PER_ROW = ("labels", "infrared")  # one entry per image; all others are matrices
_ALIKE = (
    ("shared", "specific"),
    ("logits_shared", "logits_specific"),
    ("raw_logits", "purified_logits"),
    ("normed", "normed_purified"),
)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an .npz file written with numpy.savez")
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:  # encrypted, too
        raise UserError(
            f"{path}: not a readable .npz file ({error}); write it with numpy.savez(path, name=array)"
        ) from error


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an ``.npz`` file, which must fit in memory.

    Raises:
        UserError: no such file, or not an ``.npz`` file of plain arrays.
    """
    with _reading(path):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"{path}: holds one bare array; name it: numpy.savez(path, name=array)")
        with content as file:
            return {name: file[name] for name in file.files}


class ImageArray:
    """Array ``images`` (N×3×H×W, floating, normalised) of an ``.npz`` file; one batch is in memory at a time."""

    def __init__(self, path: Path, name: str = "images") -> None:
        """Read the array's header.

        Raises:
            UserError: no such file or array, or an array of another shape or kind.
        """
        self.path, self.name = path, name
        with _reading(path), zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in names:
                raise UserError(f"{path}: has no array '{name}'{did_you_mean(name, names)}")
            with archive.open(f"{name}.npy") as member:
                self.shape, self._fortran, self.dtype = _header(member)
        if len(self.shape) != 4 or self.shape[1] != 3 or 0 in self.shape:
            raise UserError(
                f"{path}: array '{name}' has shape {self.shape}; expected N×3×H×W, e.g. images.transpose(0, 3, 1, 2)"
            )
        if self.dtype.kind != "f":
            raise UserError(
                f"{path}: array '{name}' holds {self.dtype}; expected normalised float32 images: "
                "(pixels / 255 − mean) / deviation"
            )

    def batches(self, size: int) -> Iterator[npt.NDArray[np.float32]]:
        """Consecutive batches of at most ``size`` images, float32.

        Raises:
            UserError: the file ends early or is corrupt, or an image holds NaN or infinity.
        """
        first = 0
        for batch in self._pieces(size):
            finite = np.isfinite(batch).all(axis=(1, 2, 3))
            if not finite.all():
                image = first + int(np.argmin(finite))
                raise UserError(f"{self.path}: image {image} (from 0) of '{self.name}' holds NaN or infinity")
            first += len(batch)
            yield batch.astype(np.float32, copy=False)

    def _pieces(self, size: int) -> Iterator[Array]:
        with _reading(self.path):
            if self._fortran:  # images of a batch lie scattered over the file
                whole = np.load(self.path, allow_pickle=False)[self.name]
                yield from (whole[start : start + size] for start in range(0, len(whole), size))
                return
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as member:
                _header(member)
                pixels = int(np.prod(self.shape[1:]))
                for start in range(0, self.shape[0], size):
                    count = min(size, self.shape[0] - start)
                    data = member.read(count * pixels * self.dtype.itemsize)
                    yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an ``.npy`` stream, which is left at its data."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f".npy version {version}")
    return read(member)


def loss_terms_of_file(path: Path, arch: str) -> dict[str, float]:
    """Loss terms on the arrays of an ``.npz`` file, named as ``vireid.losses.terms.evaluate_terms`` lists them.

    The margin of the triplet terms is the architecture's.

    Raises:
        UserError: an array is missing, of another shape or kind or not finite, or the rows do not pair up.
    """
    margin: float = IMPORTERS.load(arch)().config().margin
    arrays = read_arrays(path)
    for name in ARRAYS:
        if name not in arrays:
            raise UserError(f"{path}: has no array '{name}'{did_you_mean(name, arrays)}")
        _check(path, name, arrays)
    for first, second in _ALIKE:
        if arrays[first].shape != arrays[second].shape:
            raise UserError(
                f"{path}: arrays '{first}' {arrays[first].shape} and '{second}' {arrays[second].shape} differ in shape"
            )
    return evaluate_terms({**arrays, "infrared": arrays["infrared"].astype(bool)}, margin)


def _check(path: Path, name: str, arrays: Mapping[str, Array]) -> None:
    array, rows = arrays[name], arrays["labels"].shape[:1]
    if array.ndim != (1 if name in _PER_ROW else 2) or array.shape[:1] != rows or 0 in array.shape:
        expected = "B" if name in _PER_ROW else "B×C" if "logits" in name else "B×D"
        raise UserError(f"{path}: array '{name}' has shape {array.shape}; expected {expected}, B rows as in 'labels'")
    if name == "labels":
        valid, needs = array.dtype.kind in "iu", "identity numbers"
    elif name == "infrared":
        valid, needs = array.dtype.kind in "iub" and bool(np.isin(array, (0, 1)).all()), "True for infrared rows"
    else:
        valid, needs = array.dtype.kind == "f" and bool(np.isfinite(array).all()), "finite floats"
    if not valid:
        held = "NaN or infinity" if array.dtype.kind == "f" and needs == "finite floats" else str(array.dtype)
        raise UserError(f"{path}: array '{name}' must hold {needs}, not {held}")
