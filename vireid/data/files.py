"""Which files of a folder are images, and the text of split files, however they were copied or saved."""

import codecs
from pathlib import Path, PurePosixPath

from vireid.core.errors import UserError

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
    parts = ",".join(read_text(file, remedy).splitlines()).split(",")
    try:
        identities = sorted({int(part) for part in parts if part.strip()})
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
        parts = line.rsplit(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdecimal():
            raise UserError(f"split file {file}, line {number}: expected 'path label', found '{line.strip()}'")
        path = PurePosixPath(parts[0].strip().replace("\\", "/")).as_posix()
        pairs.append((path, int(parts[1])))
    if not pairs:
        raise UserError(f"split file {file} lists no image: {remedy}")
    return pairs
