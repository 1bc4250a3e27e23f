"""Training that begins with the weights of a finished fit: another resolution, recipe, augmentation or method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.types import Model
from vireid.experiment.reload import EarlierFit, earlier_fit
from vireid.models import MODELS
from vireid.models.base import Parts
from vireid.models.pretrained import load_parts
from vireid.store import Store


def check_start(config: ExperimentConfig, store: Store) -> None:
    """Check that the fit to start from, if there is one, is there and has seen no other images. Builds no model.

    Raises:
        UserError: it is missing, its weights are gone, it was trained on other images, or is of a method that has no
            part in common with the configuration's.
    """
    if config.start_from is not None:
        _find(config, store)


def bring_start(model: Model, config: ExperimentConfig, store: Store) -> None:
    """Load the weights to start from into ``model``; nothing happens without any.

    All of them where the fit is of the same model; those of its ResNet, neck and identity classifier where it is of
    another method, or has training-only parts of other shapes (a student of another teacher).

    Raises:
        UserError: as ``check_start``; weights of another model.
    """
    if config.start_from is None:
        return
    found = _find(config, store)
    module, theirs = cast(nn.Module, model), found.config.model.name
    try:
        state = load_file(found.weights)
        same = theirs == config.model.name and _shapes(state) == _shapes(module.state_dict())
        if same or not _parts(theirs):
            module.load_state_dict(state, strict=True)
        else:
            load_parts(state, _parts(theirs), module, _parts(config.model.name))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"start_from={config.start_from}: {found.weights} is corrupt or of another model ({reason}); start from a "
            "fit of the same model, or of another method on the same ResNet"
        ) from error


def _find(config: ExperimentConfig, store: Store) -> EarlierFit:
    run = cast(str, config.start_from)
    found = earlier_fit(run, f"start_from={run}", config, store, "no finished fit has this id (`vireid results list`)")
    if found.other_data:
        raise UserError(
            f"start_from={run}: trained on other data ({found.other_data}): it may have seen identities that this run "
            "is evaluated on; start from a fit on the same images"
        )
    ours, theirs = config.model.name, found.config.model.name
    if ours != theirs and not (_parts(ours) and _parts(theirs)):
        raise UserError(
            f"start_from={run}: a fit of model '{theirs}' has no ResNet that '{ours}' could begin with; start from a "
            f"fit of model={ours}"
        )
    return found


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _parts(name: str) -> Parts:
    parts: Parts = MODELS.declared(name, "parts", {})
    return parts
