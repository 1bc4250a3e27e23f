"""Reading ``.npz`` files of features, as any NumPy script writes them, without loading large arrays.

An array stored uncompressed (``np.savez``) is mapped at its place in the file, so that a gallery of a million rows
costs no memory; a compressed one (``np.savez_compressed``) is decompressed once. Nothing is ever unpickled.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vireid.core.errors import UserError

Array = npt.NDArray[Any]
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
            raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its rights") from error
        except zipfile.BadZipFile as error:
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
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
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
            header = _HEADERS.get(np.lib.format.read_magic(stream))
            if header is None:
                return None
            shape, fortran, dtype = header(stream)
            if dtype.hasobject or 0 in shape or shape == ():
                return None
            order: Literal["C", "F"] = "F" if fortran else "C"
            mapped = np.memmap(self.path, dtype=dtype, mode="r", offset=stream.tell(), shape=shape, order=order)
        return np.asarray(mapped)
