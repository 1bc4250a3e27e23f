"""Captions of a dataset's images in the ``Text/`` layout of TVI-LFM (Hu et al., NeurIPS 2024).

Under the dataset's root, per captioner and modality, ``Text/<name>/`` with ``<name>`` such as ``Blip_RGB``:
``caption_dict_<name>.json`` maps a path to its ``description``, ``caption_llm_dict_<name>.json`` adds the rephrasing
``aug_description``, ``id_caption_map_<name>.json`` maps an identity to captions. Paths begin with whatever root their
author had.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vireid.core.config import Strict
from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import ImageIndex, IntArray, Modality

TEXT = "Text"
SUFFIX = {Modality.VISIBLE: "RGB", Modality.INFRARED: "IR"}
_PLAIN, _REPHRASED = "caption_dict", "caption_llm_dict"


class CaptionConfig(Strict):
    """Which captions a run reads, and how often training takes the language model's rephrasing instead."""

    captioner: str = Field(default="Blip", min_length=1)
    """Folders Text/<captioner>_RGB and Text/<captioner>_IR."""
    rephrased: float = Field(default=0.5, ge=0, le=1)
    """Probability, drawn anew for every image of every batch."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of images, in their order."""

    descriptions: tuple[str, ...]
    rephrasings: tuple[str | None, ...]  # None where a language model has said nothing


def caption_file(root: Path, name: str, *, rephrased: bool = False) -> Path:
    """The file of captions by path, of a folder such as ``Blip_IR``."""
    return root / TEXT / name / f"{_REPHRASED if rephrased else _PLAIN}_{name}.json"


def read_captions(root: Path, name: str, paths: Sequence[str]) -> Described:
    """Captions of the images at ``paths`` (relative to ``root``) from the folder ``Text/<name>``.

    Raises:
        UserError: no such folder, a file that is no caption file, or images without a caption.
    """
    plain, rephrased = caption_file(root, name), caption_file(root, name, rephrased=True)
    if not plain.is_file() and not rephrased.is_file():
        there = sorted(path.name for path in (root / TEXT).glob("*") if path.is_dir())
        raise UserError(
            f"{plain} is missing: describe the images with `vireid data caption {root}`"
            + (f", or take other captions ({', '.join(there)})" if there else "")
        )
    entries = rerooted(read_entries(plain), paths) if plain.is_file() else {}
    again = rerooted(read_entries(rephrased), paths) if rephrased.is_file() else {}
    rows = [{**again.get(path, {}), **entries.get(path, {})} for path in paths]
    missing = [path for path, row in zip(paths, rows, strict=True) if not row.get("description")]
    if missing:
        raise UserError(
            f"{plain} describes {len(paths) - len(missing)} of {len(paths)} images; the first without a caption is "
            f"{root / missing[0]}: describe the rest with `vireid data caption {root}`"
        )
    return Described(
        tuple(str(row["description"]) for row in rows), tuple(row.get("aug_description") or None for row in rows)
    )


def describe(index: ImageIndex, config: CaptionConfig) -> tuple[ImageIndex, tuple[str | None, ...]]:
    """The index with every image's own caption, and the rephrasings.

    Raises:
        UserError: see ``read_captions``; or no rephrasings where ``config`` wants some.
    """
    texts = [""] * len(index)
    again: list[str | None] = [None] * len(index)
    for modality, suffix in SUFFIX.items():
        rows = np.flatnonzero(index.modality == modality).tolist()
        if not rows:
            continue
        name = f"{config.captioner}_{suffix}"
        described = read_captions(index.root, name, [index.paths[row] for row in rows])
        for row, description, rephrasing in zip(rows, described.descriptions, described.rephrasings, strict=True):
            texts[row], again[row] = description, rephrasing
        if config.rephrased > 0 and None in described.rephrasings:
            raise UserError(
                f"{caption_file(index.root, name, rephrased=True)} rephrases "
                f"{len(rows) - described.rephrasings.count(None)} of {len(rows)} captions: run "
                f"`vireid data rephrase {index.root}`, or set data.captions.rephrased=0"
            )
    return replace(index, captions=tuple(texts)), tuple(again)


def captions_digest(root: Path) -> str:
    """SHA-256 (first 12 digits) over every caption file by path: results that rest on text rest on these."""
    digest = hashlib.sha256()
    for path in sorted((root / TEXT).glob(f"*/{_PLAIN}_*.json")) + sorted((root / TEXT).glob(f"*/{_REPHRASED}_*.json")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


class CaptionDraw:
    """What is said of the rows of a training batch: the caption, or its rephrasing with a probability.

    A pure function of epoch, step and place in the batch, like everything that a training loader draws.
    """

    def __init__(
        self, descriptions: Sequence[str], rephrasings: Sequence[str | None], probability: float, seed: int
    ) -> None:
        self._descriptions, self._rephrasings = descriptions, rephrasings
        self._probability, self._seed = probability, seed

    def __call__(self, rows: IntArray, epoch: int, step: int) -> tuple[str, ...]:
        """Captions of the images at ``rows`` of the index."""
        instead = generator(self._seed, "captions", epoch, step).random(len(rows)) < self._probability
        return tuple(
            (self._rephrasings[row] or self._descriptions[row]) if other else self._descriptions[row]
            for row, other in zip(rows.tolist(), instead.tolist(), strict=True)
        )


def read_entries(file: Path) -> dict[str, Any]:
    """Content of a caption file: key → ``{"description": …}``; a bare text stands for its description.

    Raises:
        UserError: unreadable, or no caption file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"caption file {file} cannot be read ({error}): write it again") from error
    if isinstance(content, dict):
        content = {key: {"description": row} if isinstance(row, str) else row for key, row in content.items()}
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        raise UserError(f'caption file {file}: expected {{"path": {{"description": "…"}}}}; see `vireid data caption`')
    return content


def rerooted(entries: Mapping[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """Entries by the path of the image that they describe, whatever root their keys begin with.

    A key belongs to the longest of its endings that is a path. LLCM keeps test images a second time, in ``test_vis``
    and ``test_nir`` by camera: what is said of a file there is looked up by its last two parts, where one key has them.
    """
    wanted = set(paths)
    relative: dict[str, Any] = {}
    by_end: dict[str, Any] = {}
    ends: Counter[str] = Counter()
    for key, row in entries.items():
        segments = key.replace("\\", "/").split("/")
        match = next((p for start in range(len(segments)) if (p := "/".join(segments[start:])) in wanted), None)
        if match is not None:
            relative[match] = row
        end = "/".join(segments[-2:])
        by_end[end] = row
        ends[end] += 1
    for path in wanted - relative.keys():
        end = "/".join(path.split("/")[-2:])
        if path.startswith("test_") and ends[end] == 1:
            relative[path] = by_end[end]
    return relative
