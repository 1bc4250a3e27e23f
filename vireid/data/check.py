"""A user's first contact with their data: counts against the literature, protocol sizes, unreadable images."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.types import ImageIndex, Modality
from vireid.data import DATASETS
from vireid.data.fingerprint import Progress
from vireid.data.images import file_of, read_image
from vireid.data.layout import Counts, Layout


class CheckRow(Strict):
    """One count; ``ok`` is None where there is nothing to compare with."""

    name: str
    found: int | None
    expected: int | None = None
    ok: bool | None = None
    note: str = ""


class CheckReport(Strict):
    """What was found under a root. ``synthetic`` is the renderer's description, None for real data."""

    dataset: str
    root: str
    synthetic: str | None
    rows: tuple[CheckRow, ...]
    problems: tuple[str, ...]  # unreadable images and identities without one modality, by name

    @property
    def ok(self) -> bool:
        """Whether every comparison holds and there are no problems."""
        return not self.problems and all(row.ok is not False for row in self.rows)


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
    """Compare the dataset in ``root`` with the literature.

    Args:
        root: the dataset's directory.
        dataset: its registered name; found from the layout by default.
        decode: decode every image instead of only asking whether its file is there.
        progress: called with images looked at and their total.

    Raises:
        UserError: no such directory or layout. What is wrong inside is reported, not raised.
    """
    name = dataset or detect(root)
    layout_class = DATASETS.load(name)
    layout: Layout = layout_class(layout_class.Config(), root)
    synthetic = _synthetic(root)
    rows = [row for section in layout.sections().items() for row in _section(*section, layout, synthetic is not None)]
    problems: list[str] = []
    for part, index in (
        ("training", _attempt(lambda: layout.training("final"), rows)),
        ("test", _attempt(lambda: layout.evaluation("test"), rows)),
    ):
        if index is None:
            continue
        rows += _cameras(index, part)
        problems += [f"{part} identity {identity} has no {what} image" for identity, what in _one_sided(index)]
        problems += _unreadable(index, decode, progress)
    return CheckReport(
        dataset=name, root=str(root), synthetic=synthetic, rows=tuple(rows), problems=tuple(dict.fromkeys(problems))
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


def _one_sided(index: ImageIndex) -> list[tuple[int, str]]:
    visible = np.unique(index.identity[index.modality == Modality.VISIBLE])
    infrared = np.unique(index.identity[index.modality == Modality.INFRARED])
    lacking = [(int(i), "infrared") for i in np.setdiff1d(visible, infrared)]
    return lacking + [(int(i), "visible") for i in np.setdiff1d(infrared, visible)]


def _unreadable(index: ImageIndex, decode: bool, progress: Progress | None) -> list[str]:
    def fault(path: str) -> str | None:
        file = index.root / file_of(path)
        if not decode:
            return None if file.is_file() and file.stat().st_size else f"image {file} is missing or empty"
        try:
            read_image(index.root, path)
        except UserError as error:
            return str(error)
        return None

    faults = []
    with ThreadPoolExecutor(4) as pool:
        for done, found in enumerate(pool.map(fault, index.paths), start=1):
            if progress is not None:
                progress(done, len(index))
            if found is not None:
                faults.append(found)
    return faults


def _synthetic(root: Path) -> str | None:
    file = root / "synthetic.json"
    if not file.is_file():
        return None
    try:
        version = json.loads(file.read_text(encoding="utf-8"))["specification"]["renderer_version"]
    except (ValueError, KeyError, TypeError):
        version = "of unknown version"
    return f"synthetic {version}, not comparable with published results"
