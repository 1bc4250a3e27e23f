"""SYSU-MM01 (Wu et al., ICCV 2017): ``cam1…cam6/<id:04d>/<n:04d>.jpg`` and ``exp/`` with splits and permutations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import scipy.io

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data.images import SUFFIXES
from vireid.data.layout import (
    Counts,
    Entry,
    EvaluationPart,
    Layout,
    Permutations,
    TrainingPart,
    build_index,
    modality_counts,
    read_identities,
    require_both_modalities,
)
from vireid.data.sysu_arrays import array_entries, has_arrays

CAMERAS = {
    1: Modality.VISIBLE,
    2: Modality.VISIBLE,
    3: Modality.INFRARED,
    4: Modality.VISIBLE,
    5: Modality.VISIBLE,
    6: Modality.INFRARED,
}
ALL_SEARCH = (1, 2, 4, 5)
GALLERY = {"all-search": ALL_SEARCH, "indoor": (1, 2)}
REMEDY = "it is part of the dataset's exp/ folder (also in the repository wuancong/SYSU-MM01)"


class Config(Component):
    """SYSU-MM01 has one official split, so there is nothing to choose."""

    name: Literal["sysu"] = "sysu"


class SYSUMM01(Layout):
    """SYSU-MM01: two near-infrared cameras (3, 6), four visible ones (1, 2, 4, 5); dev = the official val identities.

    Where the JPEG tree is absent, training images come from the pre-processed ``train_{rgb,ir}_resized_*.npy``.
    """

    Config = Config
    version = "1"
    title = "SYSU-MM01"
    marks = ("cam1", "cam3", "train_rgb_resized_img.npy")
    expected: ClassVar[dict[str, int]] = {
        "train identities": 296,
        "val identities": 99,
        "training identities": 395,
        "training visible images": 22258,
        "training infrared images": 11909,
        "test identities": 96,
        "query images (infrared)": 3803,
        "gallery images, all-search, single-shot": 301,
    }
    invariants: ClassVar[dict[str, int]] = {"permutation trials": 10, "permuted images without a file": 0}

    def training(self, part: TrainingPart) -> ImageIndex:  # noqa: D102 - described by the contract
        identities = self._identities("train")
        if part == "final":
            identities = sorted({*identities, *self._identities("val")})
        if not self._has_images() and has_arrays(self.root):
            everyone = sorted({*self._identities("train"), *self._identities("val")})
            entries = array_entries(self.root, everyone, frozenset(identities))
        else:
            entries = self._scan(identities)
        return require_both_modalities(build_index(self.root, entries, f"{part} training identities"), self.title)

    def evaluation(self, part: EvaluationPart) -> ImageIndex:  # noqa: D102
        if not self._has_images():
            raise UserError(
                f"{self.title}: {self.root} has no cam1…cam6 folders: the pre-processed arrays hold training images "
                "only; unpack the JPEG tree to evaluate"
            )
        identities = self._identities("val" if part == "dev" else "test")
        return build_index(self.root, self._scan(identities), f"{part} identities")

    def permutations(self) -> Permutations:
        """Return ``exp/rand_perm_cam.mat``: per (camera, identity) an array trials × images of 1-based file numbers.

        Raises:
            UserError: the file is missing or has another structure.
        """
        file = self.root / "exp" / "rand_perm_cam.mat"
        if not file.is_file():
            raise UserError(f"{self.title}: {file} is missing: {REMEDY}")
        try:
            cells = scipy.io.loadmat(file)["rand_perm_cam"].ravel()
            found = {}
            for camera, cell in enumerate(cells, start=1):
                people = cell.ravel()
                if len(people) == 1 and people[0].dtype == object:  # a cell within a cell, as MATLAB sometimes saves it
                    people = people[0].ravel()
                for identity, trials in enumerate(people, start=1):
                    if trials.size:
                        found[camera, identity] = np.atleast_2d(trials).astype(np.int64)
        except Exception as error:  # the parser of a foreign binary format fails in any way it likes
            raise UserError(f"{self.title}: {file} is not the expected cell array ({error!r}): {REMEDY}") from error
        return found

    def sections(self) -> dict[str, Callable[[], Counts]]:  # noqa: D102
        return {
            "splits": self._split_counts,
            "training images": lambda: modality_counts(self.training("final"), "training"),
            "test images": self._test_counts,
            "permutations": self._permutation_counts,
        }

    def _split_counts(self) -> Counts:
        return {f"{name} identities": len(self._identities(name)) for name in ("train", "val", "test")}

    def _test_counts(self) -> Counts:
        test = self.evaluation("test")
        places = list(zip(test.camera.tolist(), test.identity.tolist(), strict=True))
        counts = {"query images (infrared)": int((test.modality == Modality.INFRARED).sum())}
        for mode, cameras in GALLERY.items():
            sizes = Counter(place for place in places if place[0] in cameras).values()
            for shots, name in ((1, "single-shot"), (10, "10-shot")):
                counts[f"gallery images, {mode}, {name}"] = sum(min(size, shots) for size in sizes)
        return counts

    def _permutation_counts(self) -> Counts:
        permutations, test = self.permutations(), self.evaluation("test")
        files = set(zip(test.camera.tolist(), test.identity.tolist(), test.number.tolist(), strict=True))
        people = set(test.identity.tolist())
        gallery = {
            folder: trials for folder, trials in permutations.items() if folder[0] in ALL_SEARCH and folder[1] in people
        }
        absent = {
            (camera, identity, number)
            for (camera, identity), trials in gallery.items()
            for number in np.unique(trials).tolist()
            if (camera, identity, number) not in files
        }
        return {
            "permutation trials": min(map(len, gallery.values()), default=0),
            "permuted gallery folders": len(gallery),
            "permuted images without a file": len(absent),
        }

    def _has_images(self) -> bool:
        return any((self.root / f"cam{camera}").is_dir() for camera in CAMERAS)

    def _identities(self, split: str) -> list[int]:
        return read_identities(self.root / "exp" / f"{split}_id.txt", REMEDY)

    def _scan(self, identities: Sequence[int]) -> list[Entry]:
        entries = []
        for identity in identities:
            for camera, modality in CAMERAS.items():
                folder = self.root / f"cam{camera}" / f"{identity:04d}"
                if not folder.is_dir():
                    continue
                for number, name in sorted((_number(file), file.name) for file in _images(folder)):
                    path = f"cam{camera}/{identity:04d}/{name}"
                    entries.append(Entry(path, identity, modality, camera, number))
        return entries


def _images(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]


def _number(file: Path) -> int:
    if not file.stem.isdigit():
        raise UserError(f"SYSU-MM01: image {file} is not named by its number (0001.jpg): rename or remove it")
    return int(file.stem)
