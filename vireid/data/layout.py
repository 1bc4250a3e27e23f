"""What the dataset layouts share: the contract, misplaced folders, and the held-out development identities."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, IntArray, Modality
from vireid.data.files import contents, folders_in, holds_images

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


class Layout(ABC):
    """A dataset on disk, built as ``Class(config, root)``.

    ``training("final")`` gives every training identity and ``training("fit")`` leaves out the development identities,
    which ``evaluation("dev")`` returns; test identities are for the final number (``evaluation("test")``).
    ``vireid data check`` sets ``lenient``, to look at the images of a dataset that these would refuse.
    """

    lenient = False

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
            seen = folders_in(root)
            inner = [name for name in seen if self.is_at(root / name)]
            found = f", found {some(seen)}" if seen else ""
            hint = (
                f"did you mean {root / inner[0]}?" if inner else f"expected one of {', '.join(self.marks)} in it{found}"
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
        for found in [] if self.lenient else self.misplaced():
            raise UserError(
                f"{self.title}: {self.root} has {found.what}, whose images would be left out ({some(found.folders)}): "
                f"{found.expected}"
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
