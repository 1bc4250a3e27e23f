"""A finished fit's ResNet as a trunk that others begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.records import Record
from vireid.experiment.reload import config_of_fit
from vireid.models import MODELS
from vireid.models.base import declared
from vireid.models.trunk import TRUNKS, trunk_file
from vireid.store import Store, write_atomically
from vireid.training import WEIGHTS

_PARTS = ("stem", "branch")


def write_trunk(record: Record, store: Store, folder: Path = TRUNKS) -> Path:
    """Write the stem and branch of a fit under torchvision's names, weights in half precision, with the fit's record.

    Returns:
        The ``.safetensors`` file; the record lies beside it as ``.json``.

    Raises:
        UserError: not a fit of a ResNet on visible images alone, its weights are gone, or one does not fit half
            precision.
    """
    config = config_of_fit(record, [], None, store)
    spec = declared(config.model).trunk
    parts = MODELS.declared(config.model.name, "parts", {})
    if spec is None or any(name not in parts for name in _PARTS):
        raise UserError(f"run {record.id}: model '{config.model.name}' has no ResNet that others could begin with")
    if config.data.training_modalities != "visible":
        raise UserError(
            f"run {record.id} was trained on both modalities: what begins with it has learned the task already; train "
            "a trunk with data=trunk_people"
        )
    weights = store.directory(record.id) / WEIGHTS
    if not weights.is_file():
        raise UserError(
            f"run {record.id}: its weights {weights} are gone; delete its record beside them and train it again"
        )
    state = _torchvision_names(load_file(weights), [parts[name][0] for name in _PARTS])
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"run {record.id}: weight {name} does not fit half precision")
    data: dict[str, Any] = config.data.model_dump(mode="json")
    metadata = {"run": record.id, "identities": json.dumps(data["synthetic"], sort_keys=True)}
    file = trunk_file(spec, folder)
    write_atomically(file, save(state, metadata))
    write_atomically(file.with_suffix(".json"), record.model_dump_json(indent=1) + "\n")
    return file


def _torchvision_names(state: dict[str, Tensor], modules: list[str]) -> dict[str, Tensor]:
    """Weights of the modules without their prefix; statistics of norms stay in single precision, as they are few."""
    found: dict[str, Tensor] = {}
    for module in modules:
        for name, value in state.items():
            short = name.removeprefix(f"{module}.")
            if short != name and value.is_floating_point():
                found[short] = value.clone() if "running_" in short else value.half()
    return found
