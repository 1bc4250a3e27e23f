"""What the dataset layouts share: the contract, misplaced folders, held-out identities, split files, a fingerprint.

A fingerprint is recorded with every result and checked before a result is reused. Every file's header is read on the
way, so that an image that cannot be used is named before anything is computed.
"""

import codecs
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from vireid.core.errors import UserError
from vireid.core.registry import Configured
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, IntArray, Modality
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


TrainingPart = Literal["final", "fit"]
EvaluationPart = Literal["test", "dev"]
Permutations = dict[tuple[int, int], IntArray]  # (camera, identity) -> trials × images, numbers as in file names
Counts = dict[str, int]


class Entry(NamedTuple):
    """One image of a layout; fields as in ``ImageIndex``."""

    path: str
    identity: int
    modality: Modality
    camera: int
    number: int = 0


class Misplaced(NamedTuple):
    """Folders whose images a layout would leave out without a word."""

    folders: tuple[str, ...]  # relative to the root
    what: str  # what they are
    expected: str  # what would be read, and so the remedy


class Layout(Configured[Any], ABC):
    """A dataset on disk, built as ``Class(config, root)``.

    ``training("final")`` gives every training identity and ``training("fit")`` leaves out the development identities,
    which ``evaluation("dev")`` returns; test identities are for the final number (``evaluation("test")``).
    ``vireid data check`` sets ``lenient``, to look at the images of a dataset that these would refuse.
    """

    lenient = False

    title: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]  # paths that tell this layout from the others: one of them is enough
    expected: ClassVar[Mapping[str, int]]  # counts of the literature, by the names that ``sections`` uses
    invariants: ClassVar[Mapping[str, int]] = {}  # counts that hold for synthetic data of this layout too

    def __init__(self, config: Any, root: Path) -> None:
        super().__init__(config)
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"{self.title}: root {root} is not a directory: set data.root to the unpacked dataset "
                "(or render one with `vireid data synth OUT`)"
            )
        if not self.is_at(root):
            seen = folders_in(root)
            inner = [name for name in seen if self.is_at(root / name)]
            held = f", found {some(seen)}" if seen else ""
            hint = (
                f"did you mean {root / inner[0]}?" if inner else f"expected one of {', '.join(self.marks)} in it{held}"
            )
            raise UserError(f"{self.title}: {root} does not hold this dataset: {hint}")

    @classmethod
    def is_at(cls, root: Path) -> bool:
        """Whether ``root`` looks like this layout."""
        return any((root / mark).exists() for mark in cls.marks)

    @abstractmethod
    def training(self, part: TrainingPart) -> ImageIndex:
        """Training images of both modalities.

        Raises:
            UserError: a split file or folder is missing, or an identity lacks a modality.
        """

    @abstractmethod
    def evaluation(self, part: EvaluationPart) -> ImageIndex:
        """All images of both modalities of the test or development identities.

        Raises:
            UserError: a split file or folder is missing.
        """

    def misplaced(self) -> list[Misplaced]:
        """Folders that hold images where this layout does not look for any."""
        return []

    def require_folders(self) -> None:
        """Refuse a dataset of which some folders would be left out.

        Raises:
            UserError: naming them and what is expected.
        """
        for misplaced in [] if self.lenient else self.misplaced():
            raise UserError(
                f"{self.title}: {self.root} has {misplaced.what}, whose images would be left out "
                f"({some(misplaced.folders)}): {misplaced.expected}"
            )

    def permutations(self) -> Permutations | None:
        """Gallery permutations of the dataset's official protocol, or None where it has none."""
        return None

    def test_list(self) -> frozenset[str] | None:
        """File names that the dataset's test lists name, or None where all test images count."""
        return None

    @abstractmethod
    def sections(self) -> dict[str, Callable[[], Counts]]:
        """Counts to compare with the literature, in sections that can fail one by one."""


def build_index(root: Path, entries: Sequence[Entry], what: str, parents: Iterable[str] = ()) -> ImageIndex:
    """Make an index of ``entries`` (in their order).

    Raises:
        UserError: there are none; ``what`` names them, and what the first of ``parents`` holds instead is said.
    """
    if not entries:
        seen = next(((parent, names) for parent in parents if (names := contents(root / parent))), None)
        held = "" if seen is None else f" ({seen[0]} holds {some(seen[1])}; expected folders such as 0001 with images)"
        raise UserError(f"no images found: {what} under {root}{held}; check that the archive was unpacked completely")
    columns = np.array([entry[1:] for entry in entries], dtype=np.int64).T.copy()
    return ImageIndex(root, tuple(entry.path for entry in entries), *columns)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def unpadded(root: Path, parents: Iterable[str]) -> list[Misplaced]:
    """Folders of identities, in any of ``parents``, that are not numbered by four digits."""
    misplaced = [
        f"{parent}/{name}"
        for parent in parents
        if (root / parent).is_dir()
        for name in folders_in(root / parent)
        if name.isdecimal() and name != f"{int(name):04d}" and holds_images(root / parent / name)
    ]
    if not misplaced:
        return []
    wanted = f"{misplaced[0].rpartition('/')[0]}/{int(misplaced[0].rpartition('/')[2]):04d}"
    return [
        Misplaced(
            tuple(misplaced),
            "identity folders that are not numbered by four digits",
            f"rename them with leading zeros, as {misplaced[0]} to {wanted}",
        )
    ]


def require_both_modalities(index: ImageIndex, title: str) -> ImageIndex:
    """Return ``index`` if every identity has visible and infrared images.

    Raises:
        UserError: naming the identities that lack one, and an image that they do have.
    """
    for modality, other in ((Modality.VISIBLE, Modality.INFRARED), (Modality.INFRARED, Modality.VISIBLE)):
        have = index.identity[index.modality == modality]
        lacking = np.setdiff1d(index.identity[index.modality == other], have)
        if len(lacking):
            example = index.root / index.paths[int(np.flatnonzero(index.identity == lacking[0])[0])]
            raise UserError(
                f"{title}: training identity {', '.join(map(str, lacking[:5]))}{'…' if len(lacking) > 5 else ''} "
                f"has no {modality.name.lower()} image ({len(lacking)} such identities; one of its "
                f"{other.name.lower()} images is {example}): restore the missing images or take the identity out of "
                "the split file"
            )
    return index


def held_out(identities: Iterable[int], fraction: float, *key: int | str) -> frozenset[int]:
    """Draw the development identities: ``fraction`` of the sorted identities, at least one, by a seeded key."""
    ordered = np.array(sorted(set(identities)))
    count = max(1, round(fraction * len(ordered)))
    return frozenset(generator("dev", *key).permutation(ordered)[:count].tolist())


def only(index: ImageIndex, identities: frozenset[int], *, keep: bool) -> ImageIndex:
    """Keep (or drop) the images of ``identities``."""
    return index.select(np.isin(index.identity, sorted(identities)) == keep)


def modality_counts(index: ImageIndex, prefix: str) -> Counts:
    """Number of identities and of visible and infrared images, named with ``prefix``."""
    visible = int((index.modality == Modality.VISIBLE).sum())
    return {
        f"{prefix} identities": index.num_identities,
        f"{prefix} visible images": visible,
        f"{prefix} infrared images": len(index) - visible,
    }
