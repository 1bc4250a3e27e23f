"""SYSU-MM01 (Wu et al., ICCV 2017): ``cam1…cam6/<id:04d>/<n:04d>.jpg`` and ``exp/`` with splits and permutations."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.io

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data import layout
from vireid.data.config import SYSUConfig
from vireid.data.images import load_plain, open_array, row_path

NAMES = {Modality.VISIBLE: "rgb", Modality.INFRARED: "ir"}


def array_entries(root: Path, everyone: Sequence[int], wanted: frozenset[int]) -> list[layout.Entry]:
    """Return the entries of the ``wanted`` identities; ``everyone`` are the sorted identities that labels count.

    Raises:
        UserError: an array is missing, damaged or pickled, or labels do not fit the images or the split files.
    """
    entries = []
    for modality, name in NAMES.items():
        image_file, label_file = (root / f"train_{name}_resized_{kind}.npy" for kind in ("img", "label"))
        count = len(open_array(image_file))
        labels = load_plain(label_file).reshape(-1)
        if len(labels) != count:
            raise UserError(f"{label_file} has {len(labels)} labels for the {count} images of {image_file.name}")
        if not np.issubdtype(labels.dtype, np.integer):
            raise UserError(f"{label_file} holds {labels.dtype}: expected integer labels; write it again")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(everyone)):
            raise UserError(
                f"{label_file} has labels from {labels.min()} to {labels.max()}, but exp/train_id.txt and "
                f"exp/val_id.txt name {len(everyone)} identities: take both from the same release"
            )
        for row, label in enumerate(labels.tolist()):
            if everyone[label] in wanted:
                entries.append(layout.Entry(row_path(image_file.name, row), everyone[label], modality, camera=0))
    return entries


CAMERAS = {
    1: Modality.VISIBLE,
    2: Modality.VISIBLE,
    3: Modality.INFRARED,
    4: Modality.VISIBLE,
    5: Modality.VISIBLE,
    6: Modality.INFRARED,
}
PLACES = tuple(f"cam{camera}" for camera in CAMERAS)
ALL_SEARCH = (1, 2, 4, 5)
GALLERY = {"all-search": ALL_SEARCH, "indoor": (1, 2)}
REMEDY = "it is part of the dataset's exp/ folder (also in the repository wuancong/SYSU-MM01)"


class SYSUMM01(layout.Layout):
    """SYSU-MM01: two near-infrared cameras (3, 6), four visible ones (1, 2, 4, 5); dev = the official val identities.

    Where the JPEG tree is absent, training images come from the pre-processed ``train_{rgb,ir}_resized_*.npy``.
    """

    Config = SYSUConfig
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

    def training(self, part: layout.TrainingPart) -> ImageIndex:  # noqa: D102 - described by the contract
        identities = self._identities("train")
        if part == "final":
            identities = sorted({*identities, *self._identities("val")})
        arrays = [self.root / f"train_{name}_resized_img.npy" for name in NAMES.values()]
        if not self._has_images() and all(file.is_file() for file in arrays):
            everyone = sorted({*self._identities("train"), *self._identities("val")})
            entries = array_entries(self.root, everyone, frozenset(identities))
        else:
            entries = self._scan(identities)
        index = layout.build_index(self.root, entries, f"{part} training identities", PLACES)
        return index if self.lenient else layout.require_both_modalities(index, self.title)

    def evaluation(self, part: layout.EvaluationPart) -> ImageIndex:  # noqa: D102
        if not self._has_images():
            raise UserError(
                f"{self.title}: {self.root} has no cam1…cam6 folders: the pre-processed arrays hold training images "
                "only; unpack the JPEG tree to evaluate"
            )
        identities = self._identities("val" if part == "dev" else "test")
        return layout.build_index(self.root, self._scan(identities), f"{part} identities", PLACES)

    def misplaced(self) -> list[layout.Misplaced]:  # noqa: D102
        known = {f"cam{camera}" for camera in CAMERAS}
        others = [
            name
            for name in layout.folders_in(self.root)
            if re.fullmatch(r"(?i)cam_?\d+", name) and name not in known and layout.holds_images(self.root / name)
        ]
        expected = (
            "this layout has visible cameras cam1, cam2, cam4 and cam5 and infrared cameras cam3 and cam6; number "
            "yours so, or move these folders out of the root"
        )
        misnumbered = [layout.Misplaced(tuple(others), "camera folders of other numbers", expected)] if others else []
        return misnumbered + layout.unpadded(self.root, sorted(known))

    def permutations(self) -> layout.Permutations:
        """Return ``exp/rand_perm_cam.mat``: per (camera, identity) an array trials × images of 1-based file numbers.

        Raises:
            UserError: the file is missing or has another structure.
        """
        file = self.root / "exp" / "rand_perm_cam.mat"
        if not file.is_file():
            raise UserError(f"{self.title}: {file} is missing: {REMEDY}")
        try:
            cells = scipy.io.loadmat(file)["rand_perm_cam"].ravel()
            permutations = {}
            for camera, cell in enumerate(cells, start=1):
                people = cell.ravel()
                if len(people) == 1 and people[0].dtype == object:  # a cell within a cell, as MATLAB sometimes saves it
                    people = people[0].ravel()
                for identity, trials in enumerate(people, start=1):
                    if trials.size:
                        permutations[camera, identity] = np.atleast_2d(trials).astype(np.int64)
        except Exception as error:  # the parser of a foreign binary format fails in any way it likes
            raise UserError(f"{self.title}: {file} is not the expected cell array ({error!r}): {REMEDY}") from error
        return permutations

    def sections(self) -> dict[str, Callable[[], layout.Counts]]:  # noqa: D102
        return {
            "splits": self._split_counts,
            "training images": lambda: layout.modality_counts(self.training("final"), "training"),
            "test images": self._test_counts,
            "permutations": self._permutation_counts,
        }

    def _split_counts(self) -> layout.Counts:
        return {f"{name} identities": len(self._identities(name)) for name in ("train", "val", "test")}

    def _test_counts(self) -> layout.Counts:
        test = self.evaluation("test")
        folders = list(zip(test.camera.tolist(), test.identity.tolist(), strict=True))
        counts = {"query images (infrared)": int((test.modality == Modality.INFRARED).sum())}
        for mode, cameras in GALLERY.items():
            sizes = Counter(folder for folder in folders if folder[0] in cameras).values()
            for shots, name in ((1, "single-shot"), (10, "10-shot")):
                counts[f"gallery images, {mode}, {name}"] = sum(min(size, shots) for size in sizes)
        return counts

    def _permutation_counts(self) -> layout.Counts:
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
        return layout.read_identities(self.root / "exp" / f"{split}_id.txt", REMEDY)

    def _scan(self, identities: Sequence[int]) -> list[layout.Entry]:
        self.require_folders()
        entries = []
        for identity in identities:
            for camera, modality in CAMERAS.items():
                folder = f"cam{camera}/{identity:04d}"
                names = layout.images_in(self.root / folder)
                for number, name in sorted((self._number(folder, name), name) for name in names):
                    entries.append(layout.Entry(f"{folder}/{name}", identity, modality, camera, number))
        return entries

    def _number(self, folder: str, name: str) -> int:
        stem = name.rpartition(".")[0]
        if not stem.isdecimal():
            raise UserError(
                f"{self.title}: image {self.root / folder / name} is not named by its number (0001.jpg): rename or "
                "remove it"
            )
        return int(stem)
