"""What a dataset's list files say beside its images: labels, gallery permutations, test lists; and whether it changed.

Taken of what is read, not of the files: line ends and blank lines decide nothing, and a user's own layout is covered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.types import ImageIndex
from vireid.data.layout import EvaluationPart, Layout
from vireid.evaluation.protocols import ProtocolSpec

LABELS, PERMUTATIONS, TEST_LISTS = "labels", "gallery permutations", "test lists"
Lists = dict[str, str]  # what -> digest


def training_lists(index: ImageIndex) -> Lists:
    """Digest of what the training images are said to show."""
    return {LABELS: _labels(index)}


def evaluation_lists(layout: Layout, index: ImageIndex, spec: ProtocolSpec, part: EvaluationPart) -> Lists:
    """Digests of what the evaluation of ``index`` rests on under a protocol."""
    names = [LABELS]
    names += [PERMUTATIONS] if spec.sampling == "permutation" else []
    names += [TEST_LISTS] if spec.listed and part == "test" else []
    return {name: _digest(name, layout, index) for name in names}


def check_lists(run: str, recorded: Mapping[str, str], layout: Layout, index: ImageIndex) -> None:
    """Refuse to reuse a record whose lists have changed since; records older than this say nothing of theirs.

    Raises:
        UserError: they have.
    """
    for name, digest in recorded.items():
        if (now := _digest(name, layout, index)) != digest:
            raise UserError(
                f"run {run} rests on other {name} than those under {index.root} now (digest {digest}, now {now}); "
                f"restore the dataset's list files ({_places(index.root)}) or use another --store"
            )


def _digest(name: str, layout: Layout, index: ImageIndex) -> str:
    if name == LABELS:
        return _labels(index)
    if name == TEST_LISTS:
        return _short(canonical_json(sorted(layout.test_list() or ())))
    found = layout.permutations() or {}
    return _short(canonical_json([[*key, found[key].tolist()] for key in sorted(found)]))


def _labels(index: ImageIndex) -> str:
    columns = (index.identity, index.modality, index.camera, index.number)
    rows = sorted(zip(index.paths, *(column.tolist() for column in columns), strict=True))
    return _short(canonical_json(rows))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _places(root: Path) -> str:
    return " or ".join(f"{name}/" for name in ("exp", "idx") if (root / name).is_dir()) or "beside the images"
