"""Writes the ``Text/`` folders of a dataset: captions by a captioner, rephrasings by a language model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data import DATASETS
from vireid.data.captioning.colours import without_colours
from vireid.data.captioning.journal import Progress, forget, in_batches, write_json
from vireid.data.captions import SUFFIX, TEXT, caption_file, read_captions, read_entries, rerooted
from vireid.data.check import detect
from vireid.data.layout import Layout


def images_of(root: Path, modality: Modality) -> list[str]:
    """Sorted paths, relative to ``root``, of every training and test image of a modality.

    Raises:
        UserError: no known layout, or broken split files.
    """
    layout_class = DATASETS.load(detect(root))
    layout: Layout = layout_class(layout_class.Config(), root)
    paths: set[str] = set()
    for index in (layout.training("final"), layout.evaluation("test")):
        paths.update(index.paths[row] for row in np.flatnonzero(index.modality == modality).tolist())
    return sorted(paths)


def person_of(path: str) -> str:
    """The person on an image, from the folder that it lies in: in all three layouts a number.

    Raises:
        UserError: the folder is not a number.
    """
    folder = path.split("/")[-2] if "/" in path else ""
    if not folder.isdigit():
        raise UserError(f"image {path} lies in no folder that is numbered by identity")
    return str(int(folder))


UNSEEN = "a person"  # what is left of an infrared caption that named nothing but colours


def caption_images(
    root: Path,
    modality: Modality,
    captioner: str,
    describe: Callable[[Sequence[str]], Sequence[str]],
    settings: dict[str, Any],
    *,
    batch: int = 16,
    progress: Progress | None = None,
) -> Path:
    """Describe every image of a modality that ``Text/<captioner>_<RGB|IR>`` does not describe yet.

    What an infrared image is said to show has its colour words deleted, as infrared shows none.

    Args:
        root: the dataset.
        modality: whose images.
        captioner: first part of the folder's name.
        describe: paths → captions.
        settings: what decides the captions beside the images.
        batch: images at a time.
        progress: called with images described and their number.

    Returns:
        The caption file.

    Raises:
        UserError: no known layout; notes of a run with other settings; a place that cannot be written.
    """
    name = f"{captioner}_{SUFFIX[modality]}"
    target = caption_file(root, name)
    paths = images_of(root, modality)
    known = rerooted(read_entries(target), paths) if target.is_file() else {}
    todo = [path for path in paths if path not in known]
    if todo:
        found = in_batches(
            target, todo, lambda _, some: _seen(modality, describe(some)), settings, size=batch, progress=progress
        )
        known |= {path: {"id": person_of(path), "description": text} for path, text in found.items()}
    by_person: dict[str, list[str]] = {}
    for path in paths:
        by_person.setdefault(person_of(path), []).append(known[path]["description"])
    write_json(target, {path: known[path] for path in paths})
    write_json(root / TEXT / name / f"id_caption_map_{name}.json", by_person)
    forget(target)
    return target


def rephrase_captions(
    root: Path,
    modality: Modality,
    captioner: str,
    rephrase: Callable[[int, Sequence[str]], Sequence[str]],
    settings: dict[str, Any],
    *,
    batch: int = 16,
    progress: Progress | None = None,
) -> Path:
    """Rephrase every caption of ``Text/<captioner>_<RGB|IR>``; infrared rephrasings have their colour words deleted.

    Args:
        root: the dataset.
        modality: whose captions.
        captioner: first part of the folder's name.
        rephrase: batch number and captions → sentences.
        settings: what decides the sentences beside the captions.
        batch: captions at a time.
        progress: called with captions rephrased and their number.

    Returns:
        The file of rephrasings.

    Raises:
        UserError: images without a caption; notes of a run with other settings; a place that cannot be written.
    """
    name = f"{captioner}_{SUFFIX[modality]}"
    target = caption_file(root, name, rephrased=True)
    paths = images_of(root, modality)
    said = dict(zip(paths, read_captions(root, name, paths).descriptions, strict=True))

    def make(number: int, some: Sequence[str]) -> list[str]:
        captions = [said[path] for path in some]
        sentences = _seen(modality, rephrase(number, captions))
        return [sentence or caption for sentence, caption in zip(sentences, captions, strict=True)]

    found = in_batches(target, paths, make, settings, size=batch, progress=progress)
    rows = {path: {"id": person_of(path), "description": said[path], "aug_description": found[path]} for path in paths}
    write_json(target, rows)
    forget(target)
    return target


def finetuning_captions(root: Path, modality: Modality, file: Path) -> dict[str, str]:
    """Captions to fine-tune a captioner on: path in the dataset → caption, whatever root the file's keys begin with.

    Raises:
        UserError: no caption file, or one that describes no image of the modality.
    """
    found = rerooted(read_entries(file), images_of(root, modality))
    captions = {path: str(row["description"]) for path, row in found.items() if row.get("description")}
    if not captions:
        raise UserError(f"caption file {file} describes no {modality.name.lower()} image of {root}")
    return captions


def _seen(modality: Modality, texts: Sequence[str]) -> list[str]:
    if modality is Modality.VISIBLE:
        return list(texts)
    return [without_colours(text) or UNSEEN for text in texts]
