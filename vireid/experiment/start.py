"""Training that begins with the weights of a finished fit: another resolution, recipe or augmentation from there on."""

from __future__ import annotations

from typing import cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.records import FitRecord
from vireid.core.types import Model
from vireid.experiment.identity import other_data
from vireid.experiment.reload import config_of_fit
from vireid.store import Store
from vireid.training.checkpoint import WEIGHTS


def check_start(config: ExperimentConfig, store: Store) -> None:
    """Check that the fit to start from, if there is one, is there and has seen no other images. Builds no model.

    Raises:
        UserError: it is missing, its weights are gone, or it was trained on other images.
    """
    run = config.start_from
    if run is None:
        return
    record = store.get(run)
    if not isinstance(record, FitRecord):
        raise UserError(f"start_from={run}: no finished fit of that id in {store.runs} (`vireid results list`)")
    if not (store.directory(run) / WEIGHTS).is_file():
        raise UserError(f"start_from={run}: its weights {store.directory(run) / WEIGHTS} are gone; train it again")
    made = config_of_fit(record, [], config.data.root, store)
    if other := list(other_data(config, made)):
        raise UserError(
            f"start_from={run}: trained on other data ({', '.join(other)}): it may have seen identities that this run "
            "is evaluated on; start from a fit on the same images"
        )


def bring_start(model: Model, config: ExperimentConfig, store: Store) -> None:
    """Load the weights to start from into ``model``; nothing happens without any.

    Raises:
        UserError: as ``check_start``; weights of another model.
    """
    if config.start_from is None:
        return
    check_start(config, store)
    file = store.directory(config.start_from) / WEIGHTS
    try:
        cast(nn.Module, model).load_state_dict(load_file(file), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"start_from={config.start_from}: {file} is corrupt or of another model ({reason}); start from a fit "
            "of the same model"
        ) from error
