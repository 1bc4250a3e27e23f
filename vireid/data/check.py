"""`vireid data check`: a dataset against the literature's counts, and its image files with every kind of trouble."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, Modality
from vireid.data import DATASETS
from vireid.data.images import Header, RefusedImageError, file_of, read_header, read_image
from vireid.data.layout import SUFFIXES, Counts, Layout, Progress, left_behind

SAMPLE = 400  # images decoded without being asked to decode all
FLAT = 2  # grey levels between the darkest and the brightest pixel of an image that shows nothing

_REMEDIES = {
    "missing": "restore them from the dataset's archive, or take them out of the lists",
    "unreadable": "restore them from the dataset's archive",
    "transparent": "write them without alpha, over one background for all",
    "flat": "they show nothing: often a conversion to eight bits went wrong; convert the originals again, or take them "
    "out of the lists",
}
_WORDS = {
    "missing": "missing or empty images",
    "unreadable": "truncated or unreadable images",
    "transparent": "partly transparent images, which are refused",
    "flat": "flat images, of one grey level",
}


class CheckRow(Strict):
    """One count; ``ok`` is None where there is nothing to compare with."""

    name: str
    count: int | None
    expected: int | None = None
    ok: bool | None = None
    note: str = ""


class Finding(Strict):
    """What is the matter with some images, identities or folders, named once; ``wrong`` where a result would be."""

    what: str
    count: int
    example: str
    remedy: str
    wrong: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.count:,} ({'' if self.count == 1 else 'such as '}{self.example}); {self.remedy}"


class CheckedImage(NamedTuple):
    """What one image file turned out to be."""

    path: str
    header: Header | None  # None of stored arrays and of files that could not be read
    trouble: str | None  # kind
    message: str  # the reader's message, where it refused the file
    decoded: bool


def check_images(root: Path, paths: Sequence[str], *, decode: bool, progress: Progress | None) -> list[CheckedImage]:
    """Read the header of every image, and decode all or a seeded sample."""
    count = len(paths)
    sample = set(generator("data check", count).permutation(count)[: count if decode else SAMPLE].tolist())
    with ThreadPoolExecutor(4) as pool:
        images = []
        for image in pool.map(lambda row: _check_image(root, paths[row], row in sample), range(count)):
            images.append(image)
            if progress is not None:
                progress(len(images), count)
    return images


def _check_image(root: Path, path: str, decode: bool) -> CheckedImage:
    file = root / file_of(path)
    header = None
    try:
        if not file.is_file() or not file.stat().st_size:
            return CheckedImage(path, None, "missing", f"image {file} is missing or empty", decode)
        if file.suffix != ".npy":
            header = read_header(root, path)
        flat = decode and int(np.ptp(np.asarray(read_image(root, path)), axis=(0, 1)).max()) <= FLAT
    except RefusedImageError as error:
        return CheckedImage(path, header, error.kind, str(error), decode)
    except UserError as error:
        return CheckedImage(path, header, "unreadable", str(error), decode)
    return CheckedImage(path, header, "flat" if flat else None, "", decode)


def pixel_rows(images: Sequence[CheckedImage]) -> list[CheckRow]:
    """Modes and sizes of the images, and how many of them were decoded."""
    headers = [image.header for image in images if image.header is not None]
    modes, sizes = Counter(header.mode for header in headers), Counter((h.width, h.height) for h in headers)
    rows = [CheckRow(name=f"images of mode {mode}", count=count) for mode, count in modes.most_common()]
    if sizes:
        shown = ", ".join(f"{width}×{height}: {count:,}" for (width, height), count in sizes.most_common(3))
        note = f"width×height {shown}{'' if len(sizes) <= 3 else ' …'}"
        rows.append(CheckRow(name="image sizes", count=len(sizes), note=note))
    decoded = sum(image.decoded for image in images)
    note = "" if decoded == len(images) else f"a sample of {len(images):,}; --decode decodes all"
    return [*rows, CheckRow(name="images decoded", count=decoded, note=note)]


def pixel_findings(root: Path, images: Sequence[CheckedImage]) -> list[Finding]:
    """Every kind of trouble among the images, with its count, an example and its remedy."""
    troubles: dict[str, list[CheckedImage]] = {}
    for image in images:
        if image.trouble is not None:
            troubles.setdefault(image.trouble, []).append(image)
    findings = []
    for kind, group in troubles.items():
        example = str(root / group[0].path)
        if kind in _WORDS:
            sampled = kind in ("unreadable", "transparent", "flat") and not all(image.decoded for image in images)
            what = _WORDS[kind] + (" in the sample" if sampled else "")
            findings.append(Finding(what=what, count=len(group), example=example, remedy=_REMEDIES[kind]))
        else:
            reason = group[0].message.partition(" is ")[2].partition("): ")
            findings.append(
                Finding(
                    what=f"{kind} images, which are refused",
                    count=len(group),
                    example=f"{example}, {reason[0].partition(' (')[2]}",
                    remedy=reason[2],
                )
            )
    turned = [image for image in images if image.header is not None and image.header.orientation != 1]
    if turned:
        remedy = "nothing to do: they are turned as viewers show them (records made before that was so are refused)"
        example = str(root / turned[0].path)
        findings.append(
            Finding(
                what="images with an EXIF orientation", count=len(turned), example=example, remedy=remedy, wrong=False
            )
        )
    return findings


def leftovers(root: Path) -> list[Finding]:
    """Files that no layout reads: what other systems leave behind, and images of formats that the reader leaves out."""
    behind, others = [], []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not left_behind(name))
        behind += [f"{folder}/{name}" for name in sorted(files) if left_behind(name)]
        if Path(folder).parent != root.parent and Path(folder).parent != root:  # layouts hold images further down
            others += [f"{folder}/{name}" for name in sorted(files) if Path(name).suffix.lower() in _OTHER_IMAGES]
    findings = []
    if behind:
        remedy = "nothing to do: they are left alone; delete them with find ROOT -name '._*' -delete"
        what = "files left behind by other systems"
        findings.append(Finding(what=what, count=len(behind), example=behind[0], remedy=remedy, wrong=False))
    if others:
        remedy = f"write them as one of {', '.join(sorted(SUFFIXES))}"
        what = "images of formats that are not read"
        findings.append(Finding(what=what, count=len(others), example=others[0], remedy=remedy))
    return findings


_OTHER_IMAGES = frozenset({".webp", ".gif", ".heic", ".jp2", ".pgm", ".ppm", ".exr", ".avif"})


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
        Finding(what=m.what, count=len(m.folders), example=str(root / m.folders[0]), remedy=m.expected)
        for m in layout.misplaced()
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
    images = check_images(root, list(paths), decode=decode, progress=progress)
    return CheckReport(
        dataset=name,
        root=str(root),
        synthetic=synthetic,
        rows=(*rows, *pixel_rows(images)),
        findings=(*findings, *pixel_findings(root, images), *leftovers(root)),
        unlisted=tuple(unlisted),
    )


def _section(title: str, read: Callable[[], Counts], layout: Layout, synthetic: bool) -> list[CheckRow]:
    try:
        counts = read()
    except UserError as error:
        return [CheckRow(name=title, count=None, ok=False, note=str(error))]
    rows = []
    for name, count in counts.items():
        expected = layout.invariants.get(name, None if synthetic else layout.expected.get(name))
        ok = None if expected is None else count == expected
        note = "" if ok is not False else f"differs from what it should be by {count - (expected or 0):+d}"
        rows.append(CheckRow(name=name, count=count, expected=expected, ok=ok, note=note))
    return rows


def _attempt(load: Callable[[], ImageIndex], rows: list[CheckRow]) -> ImageIndex | None:
    try:
        return load()
    except UserError as error:
        if all(row.note != str(error) for row in rows):  # a section may have met it already
            rows.append(CheckRow(name="images", count=None, ok=False, note=str(error)))
        return None


def _cameras(index: ImageIndex, part: str) -> list[CheckRow]:
    pairs, counts = np.unique(np.stack([index.camera, index.modality]), axis=1, return_counts=True)
    return [
        CheckRow(name=f"{part} images, camera {camera or 'unknown'}, {Modality(modality).name.lower()}", count=count)
        for camera, modality, count in zip(*pairs.tolist(), counts.tolist(), strict=True)
    ]


def _one_sided(index: ImageIndex, part: str) -> list[Finding]:
    findings = []
    for modality, other in ((Modality.INFRARED, Modality.VISIBLE), (Modality.VISIBLE, Modality.INFRARED)):
        lacking = np.setdiff1d(*(index.identity[index.modality == side] for side in (other, modality)))
        if len(lacking):
            what, has = modality.name.lower(), other.name.lower()
            findings.append(
                Finding(
                    what=f"{part} identities without {'an' if what[0] == 'i' else 'a'} {what} image",
                    count=len(lacking),
                    example=f"{lacking[0]}, of which there are {has} images",
                    remedy="restore the missing images, or take the identity out of the split files",
                )
            )
    return findings


def _synthetic(root: Path) -> str | None:
    file = root / "synthetic.json"
    if not file.is_file():
        return None
    try:
        version = json.loads(file.read_text(encoding="utf-8"))["specification"]["renderer_version"]
    except (ValueError, KeyError, TypeError):
        version = "of unknown version"
    return f"synthetic data (renderer {version}), not comparable with published results"
