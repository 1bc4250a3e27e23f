"""Which files of a folder are images, the text of split files, and the fingerprint of the content of an index.

A fingerprint is recorded with every result and checked before a result is reused. Every file's header is read on the
way, so that an image that cannot be used is named before anything is computed.
"""

import codecs
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex
from vireid.data.images import READER, file_of, read_header

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_LEFT_BEHIND = frozenset({"__macosx", "thumbs.db", "desktop.ini"})  # by archives and file managers, in any case


def left_behind(name: str) -> bool:
    """Whether a name is hidden or what file managers leave behind (``._0001.jpg``, ``.DS_Store``, ``__MACOSX``)."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def images_in(folder: Path) -> list[str]:
    """Sorted names of the image files in a folder; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(
        file.name for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not left_behind(file.name)
    )


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder."""
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and not left_behind(child.name))


def contents(folder: Path) -> list[str]:
    """Sorted names of all that a folder holds; none where there is no such folder."""
    return sorted(c.name for c in folder.iterdir() if not left_behind(c.name)) if folder.is_dir() else []


def holds_images(folder: Path) -> bool:
    """Whether an image lies in a folder or anywhere below it."""
    return any(file.suffix.lower() in SUFFIXES and not left_behind(file.name) for file in folder.rglob("*"))


def read_text(file: Path, remedy: str) -> str:
    """Return the text of a split file in UTF-8 (or UTF-16 with its mark), with or without a byte order mark.

    Raises:
        UserError: it is missing or not text; ``remedy`` says where it comes from.
    """
    try:
        content = file.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows PowerShell writes lists
        return content.decode("utf-16" if wide else "utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"split file {file} is missing: {remedy}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"split file {file} cannot be read ({error}): {remedy}") from error


def read_identities(file: Path, remedy: str) -> list[int]:
    """Return the sorted identities of a split file, separated by commas or lines.

    Raises:
        UserError: the file is missing, empty, or holds something that is not a number.
    """
    numbers = ",".join(read_text(file, remedy).splitlines()).split(",")
    try:
        identities = sorted({int(part) for part in numbers if part.strip()})
    except ValueError as error:
        raise UserError(f"split file {file}: {error}; expected comma-separated identity numbers") from error
    if not identities:
        raise UserError(f"split file {file} names no identity: {remedy}")
    return identities


def read_list(file: Path, remedy: str) -> list[tuple[str, int]]:
    """Return the ``(path, label)`` pairs of a list file with one ``path label`` per line; paths get forward slashes.

    Raises:
        UserError: the file is missing or empty, or a line is malformed (its number is named).
    """
    pairs = []
    for number, line in enumerate(read_text(file, remedy).splitlines(), start=1):
        columns = line.rsplit(maxsplit=1)
        if not columns:
            continue
        if len(columns) != 2 or not columns[1].isdecimal():
            raise UserError(f"split file {file}, line {number}: expected 'path label', found '{line.strip()}'")
        path = PurePosixPath(columns[0].strip().replace("\\", "/")).as_posix()
        pairs.append((path, int(columns[1])))
    if not pairs:
        raise UserError(f"split file {file} lists no image: {remedy}")
    return pairs


Progress = Callable[[int, int], None]  # done, total
Manifest = dict[str, tuple[int, int, str]]  # path -> size, mtime in ns, digest


def fingerprint(
    index: ImageIndex, cache_dir: Path | None = None, *, workers: int = 4, progress: Progress | None = None
) -> str:
    """Return 16 hex digits (BLAKE2b) over the sorted paths, sizes and contents of the index's images.

    Order, labels and the place of ``root`` do not count. An image that the reader turns counts as another than its
    file: what was computed when it was read as stored is no result of its pixels now. With ``cache_dir`` the digests
    are kept by size and modification time, so that a second call reads no image.

    Raises:
        UserError: an image is missing, unreadable or of pixels that the reader refuses.
    """
    names = sorted({file_of(path) for path in index.paths})
    memory = None
    if cache_dir is not None:
        key = hashlib.blake2b(f"{index.root.resolve()}|reader {READER}".encode(), digest_size=8).hexdigest()
        memory = cache_dir / "fingerprints" / f"{key}.json"
    known = _load(memory)
    manifest: Manifest = {}

    def describe(name: str) -> tuple[str, tuple[int, int, str]]:
        file = index.root / name
        try:
            status = file.stat()
            before = known.get(name)
            if before is not None and before[:2] == (status.st_size, status.st_mtime_ns):
                return name, before
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise UserError(f"image {file} cannot be read ({error.strerror}): restore it from the archive") from error
        if file.suffix != ".npy" and (turn := read_header(index.root, name).orientation) != 1:
            digest = f"{digest} turned {turn}"
        return name, (status.st_size, status.st_mtime_ns, digest)

    with ThreadPoolExecutor(workers) as pool:
        for done, (name, entry) in enumerate(pool.map(describe, names), start=1):
            manifest[name] = entry
            if progress is not None:
                progress(done, len(names))
    if memory is not None and any(known.get(name) != entry for name, entry in manifest.items()):
        _save(memory, {**known, **manifest})
    total = hashlib.blake2b(digest_size=8)
    for path in sorted(index.paths):
        size, _, digest = manifest[file_of(path)]
        total.update(f"{path}\0{size}\0{digest}\n".encode())
    return total.hexdigest()


def _load(file: Path | None) -> Mapping[str, tuple[int, int, str]]:
    if file is None or not file.is_file():
        return {}
    try:
        return {
            name: (int(size), int(mtime), str(d)) for name, (size, mtime, d) in json.loads(file.read_text()).items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}  # a damaged memory costs one more reading, nothing else


def _save(file: Path, manifest: Mapping[str, tuple[int, int, str]]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(manifest))
        temporary.replace(file)
    except OSError as error:
        raise UserError(f"cache directory {file.parent} is not writable ({error.strerror}): choose another") from error
