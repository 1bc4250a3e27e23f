"""A user's first contact with their data: counts against the literature, protocol sizes, and what is the matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data import DATASETS
from vireid.data.fingerprint import Progress
from vireid.data.layout import Counts, Layout
from vireid.data.pixels import CheckRow, Finding, leftovers, look_at, pixel_findings, pixel_rows


class CheckReport(Strict):
    """What was found under a root. ``synthetic`` is the renderer's description, None for real data."""

    dataset: str
    root: str
    synthetic: str | None
    rows: tuple[CheckRow, ...]
    findings: tuple[Finding, ...]
    unlisted: tuple[str, ...] = ()
    """Of training and test, what could not be listed; a row says why."""

    @property
    def ok(self) -> bool:
        """Whether every comparison holds and nothing would make a result wrong."""
        return not self.wrong and all(row.ok is not False for row in self.rows)

    @property
    def wrong(self) -> bool:
        """Whether a result on these images would be wrong, or refused."""
        return bool(self.unlisted) or any(finding.wrong for finding in self.findings)


def detect(root: Path) -> str:
    """Return the name of the registered dataset whose layout lies in ``root``.

    Raises:
        UserError: there is no such directory, or no layout fits.
    """
    if not root.is_dir():
        raise UserError(f"data root {root} is not a directory: give the folder of an unpacked dataset")
    for name in DATASETS.names():
        if DATASETS.load(name).is_at(root):
            return name
    known = "; ".join(f"{name}: {' or '.join(DATASETS.load(name).marks)}" for name in DATASETS.names())
    raise UserError(f"{root} holds no known dataset layout (looked for {known})")


def check(
    root: Path, dataset: str | None = None, *, decode: bool = False, progress: Progress | None = None
) -> CheckReport:
    """Compare the dataset in ``root`` with the literature, and look at its files.

    Args:
        root: the dataset's directory.
        dataset: its registered name; found from the layout by default.
        decode: decode every image instead of a seeded sample; headers are read of all.
        progress: called with images looked at and their total.

    Raises:
        UserError: no such directory or layout. What is wrong inside is reported, not raised.
    """
    name = dataset or detect(root)
    layout_class = DATASETS.load(name)
    layout: Layout = layout_class(layout_class.Config(), root)
    layout.lenient = True
    synthetic = _synthetic(root)
    rows = [row for section in layout.sections().items() for row in _section(*section, layout, synthetic is not None)]
    findings = [
        Finding(what=found.what, count=len(found.folders), example=str(root / found.folders[0]), remedy=found.expected)
        for found in layout.misplaced()
    ]
    paths: dict[str, None] = {}
    unlisted = []
    for part, index in (
        ("training", _attempt(lambda: layout.training("final"), rows)),
        ("test", _attempt(lambda: layout.evaluation("test"), rows)),
    ):
        if index is None:
            unlisted.append(part)
            continue
        rows += _cameras(index, part)
        findings += _one_sided(index, part)
        paths.update(dict.fromkeys(index.paths))
    looks = look_at(root, list(paths), decode=decode, progress=progress)
    return CheckReport(
        dataset=name,
        root=str(root),
        synthetic=synthetic,
        rows=(*rows, *pixel_rows(looks)),
        findings=(*findings, *pixel_findings(root, looks), *leftovers(root)),
        unlisted=tuple(unlisted),
    )


def _section(title: str, count: Callable[[], Counts], layout: Layout, synthetic: bool) -> list[CheckRow]:
    try:
        counts = count()
    except UserError as error:
        return [CheckRow(name=title, found=None, ok=False, note=str(error))]
    rows = []
    for name, found in counts.items():
        expected = layout.invariants.get(name, None if synthetic else layout.expected.get(name))
        ok = None if expected is None else found == expected
        note = "" if ok is not False else f"differs from what it should be by {found - (expected or 0):+d}"
        rows.append(CheckRow(name=name, found=found, expected=expected, ok=ok, note=note))
    return rows


def _attempt(load: Callable[[], ImageIndex], rows: list[CheckRow]) -> ImageIndex | None:
    try:
        return load()
    except UserError as error:
        if all(row.note != str(error) for row in rows):  # a section may have met it already
            rows.append(CheckRow(name="images", found=None, ok=False, note=str(error)))
        return None


def _cameras(index: ImageIndex, part: str) -> list[CheckRow]:
    pairs, counts = np.unique(np.stack([index.camera, index.modality]), axis=1, return_counts=True)
    return [
        CheckRow(name=f"{part} images, camera {camera or 'unknown'}, {Modality(modality).name.lower()}", found=count)
        for camera, modality, count in zip(*pairs.tolist(), counts.tolist(), strict=True)
    ]


def _one_sided(index: ImageIndex, part: str) -> list[Finding]:
    found = []
    for modality, other in ((Modality.INFRARED, Modality.VISIBLE), (Modality.VISIBLE, Modality.INFRARED)):
        lacking = np.setdiff1d(*(index.identity[index.modality == side] for side in (other, modality)))
        if len(lacking):
            what, has = modality.name.lower(), other.name.lower()
            found.append(
                Finding(
                    what=f"{part} identities without {'an' if what[0] == 'i' else 'a'} {what} image",
                    count=len(lacking),
                    example=f"{lacking[0]}, of which there are {has} images",
                    remedy="restore the missing images, or take the identity out of the split files",
                )
            )
    return found


def _synthetic(root: Path) -> str | None:
    file = root / "synthetic.json"
    if not file.is_file():
        return None
    try:
        version = json.loads(file.read_text(encoding="utf-8"))["specification"]["renderer_version"]
    except (ValueError, KeyError, TypeError):
        version = "of unknown version"
    return f"synthetic {version}, not comparable with published results"
