"""Writes the ``Text/`` folders of a dataset: captions by a captioner, rephrasings by a language model.

Texts take hours to make and are kept batch by batch, so that a killed run takes up where it stopped.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data import DATASETS
from vireid.data.captioning.generators import without_colours
from vireid.data.captions import SUFFIX, TEXT, caption_file, read_captions, read_entries, rerooted
from vireid.data.check import detect
from vireid.data.layout import Layout

Progress = Callable[[int, int], None]


def in_batches(
    target: Path,
    keys: Sequence[str],
    make: Callable[[int, Sequence[str]], Sequence[str]],
    settings: Mapping[str, Any],
    *,
    size: int,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make a text for every key, a batch at a time, and note each finished batch beside ``target``.

    Batches are cut by position, so that what has been made before decides nothing about what is made after.

    Args:
        target: file that the caller will write from the result, after which ``forget`` removes the notes.
        keys: what to make texts for.
        make: batch number and keys → texts; a function of these and the settings alone.
        settings: what decides the texts; notes of other settings are refused.
        size: keys per batch.
        progress: called with texts made and their number in all.

    Raises:
        UserError: notes of another run, or a place that cannot be written.
    """
    notes = _notes(target)
    head = {"settings": {**settings, "batch": size}, "keys": len(keys)}
    done = _read(notes, head)
    try:
        notes.parent.mkdir(parents=True, exist_ok=True)
        with notes.open("a", encoding="utf-8") as file:
            if not done and notes.stat().st_size == 0:
                _note(file, head)
            for number, start in enumerate(range(0, len(keys), size)):
                batch = list(keys[start : start + size])
                if number not in done:
                    texts = dict(zip(batch, make(number, batch), strict=True))
                    _note(file, {"batch": number, "texts": texts})
                    done[number] = texts
                if progress is not None:
                    progress(start + len(batch), len(keys))
    except OSError as error:
        raise UserError(f"{notes}: cannot write ({error.strerror}); free some space or fix its permissions") from error
    return {key: text for texts in done.values() for key, text in texts.items()}


def forget(target: Path) -> None:
    """Remove the notes of a finished run."""
    _notes(target).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot write ({error.strerror}); free some space or fix its permissions") from error


def _notes(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _note(file: Any, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _read(notes: Path, head: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Finished batches; a last line that was cut off by a kill is dropped."""
    if not notes.is_file() or notes.stat().st_size == 0:
        return {}
    lines = notes.read_bytes().splitlines(keepends=True)
    if not lines[-1].endswith(b"\n"):
        lines.pop()
        with notes.open("r+b") as file:
            file.truncate(sum(map(len, lines)))
    try:
        rows = [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise UserError(f"{notes} is damaged ({error}): remove it to begin anew") from error
    if not rows:
        return {}
    if rows[0] != json.loads(json.dumps(head)):
        raise UserError(
            f"{notes} was begun with other settings or images ({json.dumps(rows[0])[:200]}): finish it with those, or "
            "remove it to begin anew"
        )
    return {row["batch"]: row["texts"] for row in rows[1:]}


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
        texts = in_batches(
            target, todo, lambda _, some: _seen(modality, describe(some)), settings, size=batch, progress=progress
        )
        known |= {path: {"id": person_of(path), "description": text} for path, text in texts.items()}
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
    captions_of = dict(zip(paths, read_captions(root, name, paths).descriptions, strict=True))

    def make(number: int, some: Sequence[str]) -> list[str]:
        captions = [captions_of[path] for path in some]
        sentences = _seen(modality, rephrase(number, captions))
        return [sentence or caption for sentence, caption in zip(sentences, captions, strict=True)]

    sentences_of = in_batches(target, paths, make, settings, size=batch, progress=progress)
    rows = {
        path: {"id": person_of(path), "description": captions_of[path], "aug_description": sentences_of[path]}
        for path in paths
    }
    write_json(target, rows)
    forget(target)
    return target


def finetuning_captions(root: Path, modality: Modality, file: Path) -> dict[str, str]:
    """Captions to fine-tune a captioner on: path in the dataset → caption, whatever root the file's keys begin with.

    Raises:
        UserError: no caption file, or one that describes no image of the modality.
    """
    entries = rerooted(read_entries(file), images_of(root, modality))
    captions = {path: str(row["description"]) for path, row in entries.items() if row.get("description")}
    if not captions:
        raise UserError(f"caption file {file} describes no {modality.name.lower()} image of {root}")
    return captions


def _seen(modality: Modality, texts: Sequence[str]) -> list[str]:
    if modality is Modality.VISIBLE:
        return list(texts)
    return [without_colours(text) or UNSEEN for text in texts]
