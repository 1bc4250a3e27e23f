"""``model.json`` beside the weights of an imported model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from vireid.core.config import Strict, component, parse
from vireid.core.errors import UserError
from vireid.models import MODELS

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
