"""A report on the images of a dataset: what was counted, and the page that shows it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from vireid.core.types import ByteArray
from vireid.report.page import Page
from vireid.report.sections import DATASET_MODULES


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a contact sheet."""

    pixels: ByteArray  # H×W×3
    identity: int
    modality: str  # visible or infrared
    camera: int  # 0 where it is not known


@dataclass(frozen=True, eq=False)
class DatasetFacts:
    """What there is to say of a dataset, counted from its files."""

    title: str
    """Of the layout, such as SYSU-MM01."""
    synthetic: str | None
    """What rendered it; None for real images."""
    fingerprints: Mapping[str, str]
    """Of the contents of the images, by part: those that records of fits on them carry."""
    images: pd.DataFrame
    """A row per image: part (training or test), development, identity, modality, camera."""
    checks: pd.DataFrame
    """A row per count: name, count, expected, ok (None where nothing is expected), note."""
    literature: Mapping[str, int]
    """Counts of the literature by their names in ``checks``, whether or not they apply."""
    findings: Sequence[str]
    """What is the matter with files, as ``vireid data check`` says it."""
    missing: Mapping[str, str]
    """Parts that cannot be listed, with the reason."""
    sheet: Sequence[Tile] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    """How it was rendered."""

    @property
    def note(self) -> str:
        """What every caption ends with: empty for real images, a warning for rendered ones."""
        return f" {self.synthetic[:1].upper()}{self.synthetic[1:]}." if self.synthetic else ""

    @property
    def parts(self) -> list[str]:
        """Those that could be listed."""
        return list(dict.fromkeys(self.images["part"]))


class DatasetReport(Page):
    """Sections about a dataset.

    Args:
        facts: what was counted.
        out: folder that takes ``figures/`` and ``tables/``.
        formats: kinds of file that are kept beside the page; by default all but PNG.
    """

    modules: ClassVar[Mapping[str, str]] = DATASET_MODULES

    def __init__(self, facts: DatasetFacts, out: Path, formats: Collection[str] = ()) -> None:
        super().__init__(out, formats)
        self.facts = facts
