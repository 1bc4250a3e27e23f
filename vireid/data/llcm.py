"""LLCM (Zhang & Wang, CVPR 2023): ``vis/ nir/`` for training, ``test_vis/ test_nir/`` by camera, lists in ``idx/``."""

import re
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data import layout
from vireid.data.config import LLCMConfig

FOLDERS = {Modality.VISIBLE: "vis", Modality.INFRARED: "nir"}
CAMERAS = {Modality.VISIBLE: (1, 2, 3, 4, 5, 6, 7, 8, 9), Modality.INFRARED: (1, 2, 4, 5, 6, 7, 8, 9)}
REMEDY = "it is part of the dataset's idx/ folder"


class LLCM(layout.Layout):
    """LLCM: nine cameras, each visible and near infrared, except camera 3, which has no infrared.

    Test images are those of the camera folders (the camera is the folder's); training images are listed, with the
    camera in the file name.
    """

    Config = LLCMConfig
    title = "LLCM"
    marks = ("test_vis", "idx/train_vis.txt", "idx/test_id.txt")
    expected: ClassVar[dict[str, int]] = {"training identities": 713, "test identities": 351}

    def training(self, part: layout.TrainingPart) -> ImageIndex:  # noqa: D102 - described by the contract
        index = self._listed()
        index = index if self.lenient else layout.require_both_modalities(index, self.title)
        return index if part == "final" else layout.only(index, self._dev(index), keep=False)

    def evaluation(self, part: layout.EvaluationPart) -> ImageIndex:  # noqa: D102
        if part == "dev":
            index = self._listed()
            return layout.only(index, self._dev(index), keep=True)
        self.require_folders()
        entries = []
        for identity in layout.read_identities(self.root / "idx" / "test_id.txt", REMEDY):
            for modality, name in FOLDERS.items():
                for camera in CAMERAS[modality]:
                    directory = f"test_{name}/cam{camera}/{identity:04d}"
                    names = layout.images_in(self.root / directory)
                    entries += [layout.Entry(f"{directory}/{name}", identity, modality, camera) for name in names]
        folders = (f"test_{FOLDERS[side]}/cam{camera}" for side, cameras in CAMERAS.items() for camera in cameras)
        return layout.build_index(self.root, entries, "test_vis/ and test_nir/", folders)

    def misplaced(self) -> list[layout.Misplaced]:  # noqa: D102
        unread, known = [], []
        for modality, name in FOLDERS.items():
            directory, cameras = f"test_{name}", {f"cam{camera}" for camera in CAMERAS[modality]}
            known += [f"{directory}/{camera}" for camera in sorted(cameras)]
            seen = layout.folders_in(self.root / directory) if (self.root / directory).is_dir() else []
            others = tuple(
                f"{directory}/{camera}"
                for camera in seen
                if camera not in cameras and layout.holds_images(self.root / directory / camera)
            )
            expected = f"{directory} has {', '.join(sorted(cameras))}; number yours so, or move these folders away"
            unread += [layout.Misplaced(others, "folders that are no camera", expected)] if others else []
        return unread + layout.unpadded(self.root, known)

    def test_list(self) -> frozenset[str]:  # noqa: D102 - the lists name vis/ and nir/, the test folders hold the files
        files = (self.root / "idx" / f"test_{name}.txt" for name in FOLDERS.values())
        return frozenset(path.rpartition("/")[2] for file in files for path, _ in layout.read_list(file, REMEDY))

    def sections(self) -> dict[str, Callable[[], layout.Counts]]:  # noqa: D102
        return {
            "training images": lambda: layout.modality_counts(self._listed(), "training"),
            "test images": self._test_counts,
        }

    def _test_counts(self) -> layout.Counts:
        test = self.evaluation("test")
        counts = layout.modality_counts(test, "test")
        for modality, name in FOLDERS.items():
            rows = test.modality == modality
            folders = np.unique(np.stack([test.identity[rows], test.camera[rows]]), axis=1)
            counts[f"sampled gallery images, {name} (one per identity and camera)"] = folders.shape[1]
            file = self.root / "idx" / f"test_{name}.txt"
            counts[f"listed test images, {name}"] = len(layout.read_list(file, REMEDY))
        return counts

    def _dev(self, index: ImageIndex) -> frozenset[int]:
        return layout.held_out(index.identity.tolist(), self.config.dev_fraction, "llcm", self.config.dev_seed)

    def _listed(self) -> ImageIndex:
        entries = []
        for modality, name in FOLDERS.items():
            file = self.root / "idx" / f"train_{name}.txt"
            for path, label in layout.read_list(file, REMEDY):
                camera = re.search(r"_c(\d+)_", path.rpartition("/")[2])
                if camera is None:
                    raise UserError(f"split file {file}: '{path}' names no camera (expected _cNN_ in the file name)")
                entries.append(layout.Entry(path, label, modality, int(camera[1])))
        return layout.build_index(self.root, entries, "training lists")
