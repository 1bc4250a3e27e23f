"""Training that begins with the weights of a finished fit: another resolution, recipe or augmentation from there on."""

from __future__ import annotations

from typing import cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.types import Model
from vireid.experiment.reload import earlier_fit
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
    remedy = "no finished fit has this id (`vireid results list`)"
    if other := earlier_fit(run, f"start_from={run}", config, store, remedy).other_data:
        raise UserError(
            f"start_from={run}: trained on other data ({other}): it may have seen identities that this run is "
            "evaluated on; start from a fit on the same images"
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
