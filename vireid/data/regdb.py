"""RegDB (Nguyen et al., Sensors 2017): ``Visible/``, ``Thermal/`` and ten splits ``idx/*_<split>.txt``."""

from collections.abc import Callable
from typing import ClassVar

from vireid.core.types import ImageIndex, Modality
from vireid.data import layout
from vireid.data.config import SPLITS, RegDBConfig

FOLDERS = {Modality.VISIBLE: "visible", Modality.INFRARED: "thermal"}
CAMERA = {Modality.VISIBLE: 1, Modality.INFRARED: 2}  # one dual camera: each sensor counts as a camera


class RegDB(layout.Layout):
    """RegDB: 412 identities, 10 visible and 10 thermal images each; half of the identities train in every split.

    Labels of the list files count training and test identities apart, both from 0.
    """

    Config = RegDBConfig
    title = "RegDB"
    marks = ("Visible", "Thermal")
    expected: ClassVar[dict[str, int]] = {
        f"{part} {what}": count
        for part in ("training", "test")
        for what, count in (("identities", 206), ("visible images", 2060), ("infrared images", 2060))
    }
    invariants: ClassVar[dict[str, int]] = {
        "splits read": SPLITS,
        "splits whose counts differ from split 1": 0,
        "images both in training and test of a split": 0,
    }

    def training(self, part: layout.TrainingPart) -> ImageIndex:  # noqa: D102 - described by the contract
        index = self._read("train", self.config.split)
        index = index if self.lenient else layout.require_both_modalities(index, self.title)
        return index if part == "final" else layout.only(index, self._dev(index), keep=False)

    def evaluation(self, part: layout.EvaluationPart) -> ImageIndex:  # noqa: D102
        if part == "test":
            return self._read("test", self.config.split)
        index = self._read("train", self.config.split)
        return layout.only(index, self._dev(index), keep=True)

    def sections(self) -> dict[str, Callable[[], layout.Counts]]:  # noqa: D102
        return {"split 1": lambda: self._split_counts(1), "ten splits": self._comparison}

    def _split_counts(self, split: int) -> layout.Counts:
        training, test = self._read("train", split), self._read("test", split)
        return layout.modality_counts(training, "training") | layout.modality_counts(test, "test")

    def _comparison(self) -> layout.Counts:
        splits = range(1, SPLITS + 1)
        shared = [set(self._read("train", split).paths) & set(self._read("test", split).paths) for split in splits]
        counts = [self._split_counts(split) for split in splits]
        return {
            "splits read": len(counts),
            "splits whose counts differ from split 1": sum(count != counts[0] for count in counts),
            "images both in training and test of a split": sum(map(len, shared)),
        }

    def _dev(self, index: ImageIndex) -> frozenset[int]:
        config = self.config
        return layout.held_out(index.identity.tolist(), config.dev_fraction, "regdb", config.split, config.dev_seed)

    def _read(self, part: str, split: int) -> ImageIndex:
        entries = []
        for modality, name in FOLDERS.items():
            file = self.root / "idx" / f"{part}_{name}_{split}.txt"
            for path, label in layout.read_list(file, "it is part of the dataset's idx/ folder"):
                entries.append(layout.Entry(path, label, modality, CAMERA[modality]))
        return layout.build_index(self.root, entries, f"split {split}, {part}")
