"""The list of images that a layout asks for, decided before anything is rendered."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vireid.core.types import Modality
from vireid.data.synthetic.cameras import Spectrum

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to render: who, by which camera, and where the file goes.

    ``number`` counts from 1 within the identity and camera; ``path`` is relative to the root. ``copies`` are further
    places of the same file (LLCM lists its test images a second time by camera).
    """

    identity: int
    spectrum: Spectrum
    camera: int
    number: int
    path: str
    split: Split
    copies: tuple[str, ...] = ()

    @property
    def modality(self) -> Modality:
        """Visible, or infrared for ``nir`` and ``thermal``."""
        return modality_of(self.spectrum)


def modality_of(spectrum: Spectrum) -> Modality:
    """Modality of a spectrum: visible, or infrared for ``nir`` and ``thermal``."""
    return Modality.VISIBLE if spectrum == "visible" else Modality.INFRARED


@dataclass(frozen=True, slots=True)
class Plan:
    """All images of a dataset, identity by identity, and its index files.

    ``text_files`` maps a relative path to its content; ``binary_files`` likewise.
    """

    shots: tuple[Shot, ...]
    text_files: Mapping[str, str]
    binary_files: Mapping[str, bytes]


def share_out(identities: Sequence[int], sizes: Mapping[Split, int], rng: np.random.Generator) -> dict[int, Split]:
    """Assign every identity to a split at random; ``sizes`` add up to the number of identities."""
    shuffled = rng.permutation(np.asarray(identities))
    splits: dict[int, Split] = {}
    start = 0
    for split, size in sizes.items():
        splits.update({int(identity): split for identity in shuffled[start : start + size]})
        start += size
    return dict(sorted(splits.items()))


def image_count(most: int, rng: np.random.Generator) -> int:
    """Number of images of one identity in one camera: between half of ``most`` and ``most``."""
    return int(rng.integers((most + 1) // 2, most + 1))


def labelled_lines(shots: Sequence[Shot]) -> str:
    """Lines ``path label`` with labels 0…C−1 by sorted identity, as RegDB's and LLCM's index files have them."""
    identities = np.unique([shot.identity for shot in shots])
    label: npt.NDArray[np.int64] = np.searchsorted(identities, [shot.identity for shot in shots])
    return "".join(f"{shot.path} {row}\n" for shot, row in zip(shots, label.tolist(), strict=True))


def duplicate(source: Path, target: Path) -> None:
    """Give a file a second name, without using space where the file system allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())
