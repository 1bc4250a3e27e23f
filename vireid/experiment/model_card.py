"""An imported model on disk: ``model.json`` beside its weights, and the digest of both."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

from vireid.core.config import Strict, canonical_json, component, parse
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.models import MODELS
from vireid.training import WEIGHTS

CARD = "model.json"


class ModelCard(Strict):
    """What an imported model is and where it came from; written as ``model.json`` beside its weights."""

    schema_version: Literal[1] = 1
    arch: str
    """Name in IMPORTERS."""
    model: component(MODELS)  # type: ignore[valid-type]
    num_classes: int
    source_file: str
    source_sha256: str
    parameters: dict[str, int]
    """Of the source file: deployed, training_only, dead."""
    dead: dict[str, int]
    """Its stages and blocks that never run or never train -> parameters."""


def read_card(directory: Path) -> ModelCard:
    """Card of an imported model.

    Raises:
        UserError: missing or unreadable.
    """
    file = directory / CARD
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: not a readable model card; write one with `vireid import FILE --arch … --output {directory}`"
        ) from error
    return parse(ModelCard, data, str(file))


def exported_digest(file: Path) -> str:
    """SHA-256 of what an exported model computes: its weights, its configuration, its classes.

    Raises:
        UserError: it is not there, or not one that `vireid import --output` wrote.
    """
    directory = file if file.is_dir() else file.parent
    card, weights = directory / CARD, directory / WEIGHTS
    for needed in (card, weights):
        if not needed.is_file():
            raise UserError(
                f"model.teacher.file = {file}: no {needed.name} in {directory}; give a directory that "
                "`vireid import … --output DIR` wrote"
            )
    stamps = ((path.stat().st_mtime_ns, path.stat().st_size) for path in (card, weights))
    return _digest(directory, *stamps)


@lru_cache(maxsize=32)
def _digest(directory: Path, *_: tuple[int, int]) -> str:
    card = read_card(directory)
    model = {**card.model.model_dump(mode="json"), "version": MODELS.version(card.model.name)}
    content = {"weights": file_digest(directory / WEIGHTS), "model": model, "num_classes": card.num_classes}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
