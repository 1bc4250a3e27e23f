"""Whether the images, labels and lists that a record rests on are still those on disk.

List files (gallery permutations, test lists) are taken by what is read, not by their bytes: line ends and blank lines
decide nothing, and a user's own layout is covered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.core.types import ImageIndex
from vireid.data.layout import EvaluationPart, Layout
from vireid.evaluation.protocols import ProtocolSpec

if TYPE_CHECKING:
    from vireid.experiment.data import PreparedData

LABELS, PERMUTATIONS, TEST_LISTS = "labels", "gallery permutations", "test lists"
Lists = dict[str, str]  # what -> digest


def check_same_images(record: FitRecord, data: PreparedData) -> None:
    """Refuse to reuse a fit whose training images or labels have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.data["fingerprint"] != data.train_fingerprint:
        raise UserError(
            f"run {record.id} was trained on other images than those under {data.train.root} now (fingerprint "
            f"{record.data['fingerprint']}, now {data.train_fingerprint}); restore the data or use another --store"
        )
    check_lists(record.id, record.data.get("lists", {}), data.layout, data.train)


def check_same_evaluation_images(record: EvaluationRecord, data: PreparedData) -> None:
    """Refuse to reuse an evaluation whose images, labels or protocol lists have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.fingerprint != data.evaluation_fingerprint:
        raise UserError(
            f"run {record.id} evaluated other images than those under {data.evaluation.root} now (fingerprint "
            f"{record.fingerprint}, now {data.evaluation_fingerprint}); restore the data or use another --store"
        )
    check_lists(record.id, record.lists, data.layout, data.evaluation)


def training_lists(index: ImageIndex) -> Lists:
    """Digest of the labels of the training images."""
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
            folders = [f"{folder}/" for folder in ("exp", "idx") if (index.root / folder).is_dir()]
            raise UserError(
                f"run {run} rests on other {name} than those under {index.root} now (digest {digest}, now {now}); "
                f"restore the dataset's list files ({' or '.join(folders) or 'beside the images'}) or use another "
                "--store"
            )


def _digest(name: str, layout: Layout, index: ImageIndex) -> str:
    if name == LABELS:
        return _labels(index)
    if name == TEST_LISTS:
        return _short(canonical_json(sorted(layout.test_list() or ())))
    permutations = layout.permutations() or {}
    return _short(canonical_json([[*key, permutations[key].tolist()] for key in sorted(permutations)]))


def _labels(index: ImageIndex) -> str:
    columns = (index.identity, index.modality, index.camera, index.number)
    rows = sorted(zip(index.paths, *(column.tolist() for column in columns), strict=True))
    return _short(canonical_json(rows))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
