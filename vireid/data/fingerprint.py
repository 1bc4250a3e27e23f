"""Content fingerprint of an image index: recorded with every result and checked before a result is reused.

Every file's header is read on the way, so that an image that cannot be used is named before anything is computed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex
from vireid.data.images import READER, file_of, read_header

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
