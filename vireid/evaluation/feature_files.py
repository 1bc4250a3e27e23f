"""Features of other people's models: arrays in memory or in a ``.npz`` file, checked before they are ranked.

An array stored uncompressed (``np.savez``) is mapped at its place in the file, so that a gallery of a million rows
costs no memory; a compressed one (``np.savez_compressed``) is decompressed once. Nothing is ever unpickled.
"""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import Array, FloatArray, IntArray
from vireid.evaluation.metrics import Labels, is_junk
from vireid.evaluation.protocols import CameraRule

FeatureRule = Literal["sysu", "none", "same-id-same-cam"]
ArrayLike = npt.ArrayLike | Tensor

ARRAYS = ("query", "gallery", "query_id", "gallery_id", "query_cam", "gallery_cam")
CAMERA_ARRAYS = ARRAYS[4:]
_CHECKED_CELLS = 16_000_000  # features looked at together for what is not finite


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Checked features and labels of both sides. The features may be mapped from a file and are never copied whole."""

    query: FloatArray  # Q×D
    gallery: FloatArray  # G×D
    query_labels: Labels
    gallery_labels: Labels
    rule: CameraRule
    where: str  # where the arrays come from, for messages

    @property
    def junk(self) -> int:
        """Number of gallery images that no query is scored on: those of negative identities."""
        return int(is_junk(self.gallery_labels.identity).sum())


def checked_set(arrays: Mapping[str, ArrayLike | None], rule: str, where: str) -> FeatureSet:
    """Check the arrays named in ``ARRAYS`` against each other; cameras may be absent where the rule needs none.

    Args:
        arrays: features Q×D and G×D, identities and cameras as integers, one per row. Negative identities mark junk.
        rule: ``sysu``, ``none`` or ``same-id-same-cam``.
        where: opens every message.

    Raises:
        UserError: an unknown rule; an array that is missing, empty, of another length, width or type, or not finite;
            junk among the queries, or nothing else in the gallery.
    """
    if rule not in get_args(FeatureRule):
        near = did_you_mean(rule, get_args(FeatureRule))
        raise UserError(
            f"unknown rule '{rule}'{near}; none keeps every gallery image, sysu removes camera 2 for "
            "queries of camera 3, same-id-same-cam removes images of the query's identity and camera"
        )
    sides: dict[str, tuple[FloatArray, Labels]] = {}
    for side in ("query", "gallery"):
        features = _features(arrays.get(side), side, where)
        identity = _integers(arrays.get(f"{side}_id"), f"{side}_id", len(features), side, where)
        if side == "query" and (identity < 0).any():
            rows = np.flatnonzero(identity < 0)
            raise UserError(
                f"{where}: array 'query_id' is negative in {len(rows)} of {len(identity)} rows, the first of them row "
                f"{rows[0]} (from 0) with {identity[rows[0]]}; negative identities mark junk, which is left out of a "
                "gallery and is no query: leave these rows out of the query arrays"
            )
        camera = np.zeros(len(features), dtype=np.int64)
        if rule != "none":
            name = f"{side}_cam"
            if arrays.get(name) is None:
                raise UserError(
                    f"{where}: array '{name}' is missing: rule {rule} needs the camera of every {side} image; add it, "
                    "or use rule none if no gallery image is to be left out"
                )
            camera = _integers(arrays[name], name, len(features), side, where)
        sides[side] = (features, Labels(identity, camera))
    (query, query_labels), (gallery, gallery_labels) = sides["query"], sides["gallery"]
    if query.shape[1] != gallery.shape[1]:
        raise UserError(
            f"{where}: array 'query' has {query.shape[1]} columns but 'gallery' has {gallery.shape[1]}; "
            "both must come from one feature space"
        )
    if is_junk(gallery_labels.identity).all():
        raise UserError(
            f"{where}: every identity in 'gallery_id' is negative, which marks junk: there is nothing to rank; number "
            "people from 0"
        )
    core_rule: CameraRule = "sysu" if rule == "sysu" else "same_id_same_cam" if rule == "same-id-same-cam" else "none"
    return FeatureSet(query, gallery, query_labels, gallery_labels, core_rule, where)


def _features(given: ArrayLike | None, name: str, where: str) -> FloatArray:
    if given is None:
        raise UserError(f"{where}: array '{name}' is missing: give the {name} features, one row per image")
    array = _plain(given)
    if array.ndim != 2:
        raise UserError(f"{where}: array '{name}' has shape {array.shape}; give a matrix with one row per image")
    if 0 in array.shape:
        raise UserError(f"{where}: array '{name}' is empty (shape {array.shape}); there is nothing to rank")
    if array.dtype.kind not in "fiu":
        raise UserError(f"{where}: array '{name}' is {array.dtype}; write real numbers (float16, float32 or float64)")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    check_finite(array, name, where)
    return array


def check_finite(array: FloatArray, name: str, where: str) -> None:
    """Look for NaN and infinity in blocks of rows.

    Raises:
        UserError: naming how many rows are affected and the first of them.
    """
    if array.dtype.kind != "f":
        return
    step = max(1, _CHECKED_CELLS // array.shape[1])
    count, first = 0, -1
    for start in range(0, len(array), step):
        block = array[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            total = block.sum()  # one pass; a finite block may overflow its sum
        if np.isfinite(total):
            continue
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            first = start + int(bad[0]) if count == 0 else first
            count += len(bad)
    if count:
        raise UserError(
            f"{where}: array '{name}' holds NaN or infinity in {count} of {len(array)} rows, the first of them row "
            f"{first} (from 0); extract these features again in float32, or leave the images out of all arrays"
        )


def _integers(given: ArrayLike | None, name: str, length: int, side: str, where: str) -> IntArray:
    if given is None:
        raise UserError(f"{where}: array '{name}' is missing: give one whole number per {side} image")
    array = _plain(given)
    if array.dtype.kind not in "iu":
        remedy = (
            "number them over query and gallery together, e.g. with np.unique(all_of_them, return_inverse=True)"
            if array.dtype.kind in "USO"
            else f"write whole numbers: {name}.astype(np.int64)"
        )
        kind = "text" if array.dtype.kind in "US" else str(array.dtype)
        raise UserError(f"{where}: array '{name}' holds {kind}; {remedy}")
    if array.shape != (length,):
        raise UserError(
            f"{where}: array '{name}' has shape {array.shape}, but '{side}' has {length} rows; give one number per row"
        )
    if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{where}: array '{name}' holds numbers beyond 2⁶³−1; number the images anew from 0")
    return array.astype(np.int64)


def _plain(given: ArrayLike) -> Array:
    if isinstance(given, Tensor):
        tensor = given.detach().cpu()
        return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    return np.asarray(given)


_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: the lengths of its name and extra field end it
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class FeatureFile:
    """The named arrays of an ``.npz`` file, read on request.

    Raises:
        UserError: no such file, or not an ``.npz`` archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {
                    info.filename.removesuffix(".npy"): info
                    for info in archive.infolist()
                    if info.filename.endswith(".npy")
                }
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file; write one with np.savez (docs/evaluate.md shows how)") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # of a version or names that none has
            raise UserError(
                f"{path}: not an .npz archive, or one that was cut short ({error}); write it again with np.savez"
            ) from error

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def require(self, name: str, why: str) -> Array:
        """Return an array that must be there; ``why`` completes "array 'x' is missing: …".

        Raises:
            UserError: it is missing or unreadable.
        """
        if name not in self:
            held = ", ".join(sorted(self.names)) or "no array"
            raise UserError(f"{self.path}: array '{name}' is missing: {why}; the file holds {held}")
        return self.read(name)

    def read(self, name: str) -> Array:
        """Return an array, memory-mapped read-only where it is stored uncompressed.

        Raises:
            UserError: damaged, or an array of Python objects, which would have to be unpickled.
        """
        try:
            mapped = self._mapped(self._members[name])
            if mapped is not None:
                return mapped
            with np.load(self.path, allow_pickle=False) as archive:
                return np.asarray(archive[name])
        except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error) as error:
            raise UserError(
                f"{self.path}: array '{name}' cannot be read ({error}); write it again as plain numbers or text"
            ) from error

    def _mapped(self, info: zipfile.ZipInfo) -> Array | None:
        """Map a stored member; None where it has to be read (compressed, empty, or a header NumPy keeps private)."""
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with self.path.open("rb") as stream:
            stream.seek(info.header_offset)
            start = stream.read(_LOCAL_HEADER.size)
            name, extra = _LOCAL_HEADER.unpack(start)
            stream.seek(name + extra, 1)
            _check_sum(stream, info)
            header = _HEADERS.get(np.lib.format.read_magic(stream))
            if header is None:
                return None
            shape, fortran, dtype = header(stream)
            if dtype.hasobject or 0 in shape or shape == ():
                return None
            order: Literal["C", "F"] = "F" if fortran else "C"
            mapped = np.memmap(self.path, dtype=dtype, mode="r", offset=stream.tell(), shape=shape, order=order)
        return np.asarray(mapped)


def _check_sum(stream: BinaryIO, info: zipfile.ZipInfo) -> None:
    """Compare a stored member with its checksum, as mapping it does not; leaves the stream where it was."""
    start, left, found = stream.tell(), info.file_size, 0
    while left:
        block = stream.read(min(left, 1 << 20))
        if not block:
            raise zipfile.BadZipFile("cut short")
        found, left = zlib.crc32(block, found), left - len(block)
    if found != info.CRC:
        raise zipfile.BadZipFile("its bytes are not those that were written")
    stream.seek(start)
