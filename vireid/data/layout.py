"""What the dataset layouts share: the contract, reading of split files, and the held-out development identities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, IntArray, Modality

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


class Layout(ABC):
    """A dataset on disk, built as ``Class(config, root)``.

    ``training("final")`` gives every training identity and ``training("fit")`` leaves out the development identities,
    which ``evaluation("dev")`` returns; test identities are for the final number (``evaluation("test")``).
    """

    Config: ClassVar[type[Component]]
    version: ClassVar[str]
    title: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]  # paths that tell this layout from the others: one of them is enough
    expected: ClassVar[Mapping[str, int]]  # counts of the literature, by the names that ``sections`` uses
    invariants: ClassVar[Mapping[str, int]] = {}  # counts that hold for synthetic data of this layout too

    def __init__(self, config: Any, root: Path) -> None:
        self.config = config
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"{self.title}: root {root} is not a directory: set data.root to the unpacked dataset "
                "(or render one with `vireid data synth OUT`)"
            )
        if not self.is_at(root):
            inner = [child.name for child in sorted(root.iterdir()) if child.is_dir() and self.is_at(child)]
            hint = f"did you mean {root / inner[0]}?" if inner else f"expected one of {', '.join(self.marks)} in it"
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

    def permutations(self) -> Permutations | None:
        """Gallery permutations of the dataset's official protocol, or None where it has none."""
        return None

    def test_list(self) -> frozenset[str] | None:
        """File names that the dataset's test lists name, or None where all test images count."""
        return None

    @abstractmethod
    def sections(self) -> dict[str, Callable[[], Counts]]:
        """Counts to compare with the literature, in sections that can fail one by one."""


def build_index(root: Path, entries: Sequence[Entry], what: str) -> ImageIndex:
    """Make an index of ``entries`` (in their order).

    Raises:
        UserError: there are none; ``what`` names them.
    """
    if not entries:
        raise UserError(f"no images found: {what} under {root}; check that the archive was unpacked completely")
    columns = np.array([entry[1:] for entry in entries], dtype=np.int64).T.copy()
    return ImageIndex(root, tuple(entry.path for entry in entries), *columns)


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


def read_text(file: Path, remedy: str) -> str:
    """Return the text of a split file.

    Raises:
        UserError: it is missing or not text; ``remedy`` says where it comes from.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"split file {file} is missing: {remedy}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"split file {file} cannot be read ({error}): {remedy}") from error


def read_identities(file: Path, remedy: str) -> list[int]:
    """Return the sorted identities of a comma-separated split file.

    Raises:
        UserError: the file is missing, empty, or holds something that is not a number.
    """
    parts = read_text(file, remedy).replace("\n", ",").split(",")
    try:
        identities = sorted({int(part) for part in parts if part.strip()})
    except ValueError as error:
        raise UserError(f"split file {file}: {error}; expected comma-separated identity numbers") from error
    if not identities:
        raise UserError(f"split file {file} names no identity: {remedy}")
    return identities


def read_list(file: Path, remedy: str) -> list[tuple[str, int]]:
    """Return the ``(path, label)`` pairs of a list file with one ``path label`` per line.

    Raises:
        UserError: the file is missing or empty, or a line is malformed (its number is named).
    """
    pairs = []
    for number, line in enumerate(read_text(file, remedy).splitlines(), start=1):
        path, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not path or not label.isdigit():
            raise UserError(f"split file {file}, line {number}: expected 'path label', found '{line.strip()}'")
        pairs.append((path.strip().replace("\\", "/"), int(label)))
    if not pairs:
        raise UserError(f"split file {file} lists no image: {remedy}")
    return pairs


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
