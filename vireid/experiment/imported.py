"""Weights that were trained elsewhere as a fit of the suite: beside a record, from which all else works.

They are those of a checkpoint of public code, or of a fit that is met with other images than its own. What evaluates,
explains, exports, quantises and bundles a fit takes its weights, its configuration and its images, and asks nobody how
they were trained.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from vireid.config import ExperimentConfig, ImportedConfig
from vireid.core.config import Component, parse
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import FitRecord, ImportedFile, now
from vireid.experiment.context import RunContext
from vireid.experiment.data import check_same_images, finished_fields
from vireid.experiment.identity import other_data, rendered
from vireid.experiment.reload import kept_weights, remember_root
from vireid.models.importers import IMPORTERS
from vireid.models.importers.load import Imported, Importer
from vireid.overrides import compose, override_key
from vireid.store import write_atomically
from vireid.training import WEIGHTS
from vireid.training.checkpoint import save_weights

_CHOICES = ("seed", "data", "evaluation", "profile", "runtime")  # of a user; the rest belongs to the weights


def compose_images(overrides: Sequence[str]) -> ExperimentConfig:
    """The configuration of images that imported weights are met with: their test identities unless it says otherwise.

    Raises:
        UserError: an override of what belongs to the weights.
    """
    if foreign := [text for text in overrides if override_key(text).partition(".")[0] not in _CHOICES]:
        raise UserError(
            f"'{foreign[0]}': {', '.join(_CHOICES[:-1])} and {_CHOICES[-1]} can be set; the rest belongs to the weights"
        )
    chosen = any(override_key(text) == "data.split" for text in overrides)
    return compose([*overrides, *([] if chosen else ["data.split=test"])])  # nothing is tuned here


def imported_config(config: ExperimentConfig, model: Component, origin: ImportedConfig) -> ExperimentConfig:
    """A configuration whose ``model`` has imported weights; its images, protocols and runtimes are kept.

    Raises:
        UserError: the model needs what the images lack, such as captions.
    """
    settings = {name: getattr(config, name) for name in type(config).model_fields}
    return parse(ExperimentConfig, settings | {"model": model, "imported": origin}, "imported weights")


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's tensors by name, type, shape and values; how a file wraps them does not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def import_checkpoint(run: RunContext, imported: Imported, file: Path, arch: str) -> RunContext:
    """Keep the weights of public code as a fit on the images of ``run``; the run of that fit.

    Args:
        run: whose images, protocols and runtimes are taken, and its store.
        imported: the model with its weights.
        file: the checkpoint that they come from.
        arch: name of the importer that read it.

    Raises:
        UserError: images that are missing or differ from those of an earlier import; a store that cannot be written.
    """
    importer: type[Importer] = IMPORTERS.load(arch)
    origin = ImportedConfig(arch=arch, weights=weights_digest(imported.model.state_dict()))
    kept = replace(run, config=imported_config(run.config, imported.model.config, origin))

    def write() -> ImportedFile:
        save_weights(imported.model, kept.directory)
        return ImportedFile(
            source=importer.source, file=file.name, sha256=file_digest(file), parameters=imported.parameters
        )

    _keep(kept, imported.num_classes, write)
    return kept


def transfer_fit(run: RunContext, trained: RunContext) -> RunContext:
    """Keep a finished fit's weights as a fit on the images of ``run``; the run of that fit.

    Args:
        run: whose images, protocols and runtimes are taken, and its store.
        trained: the run whose weights they are. Where these are imported, they are met with the images of ``run``.

    Raises:
        UserError: images that are missing, or of people that the fit was trained on; weights that are gone.
    """
    _refuse_seen(run.config, trained)
    record = trained.fit
    file = kept_weights(trained.store, record.id)
    origin = trained.config.imported or ImportedConfig(run=record.id, weights=weights_digest(load_file(file)))
    kept = replace(run, config=imported_config(run.config, trained.config.model, origin))

    def write() -> ImportedFile:
        write_atomically(kept.directory / WEIGHTS, file.read_bytes())
        if record.imported is not None:
            return record.imported
        name = trained_on(trained.config)
        return ImportedFile(
            source=f"fit {record.id} on {name}", file=file.name, sha256=file_digest(file), trained_on=name
        )

    _keep(kept, record.data["identities"], write)
    return kept


def _refuse_seen(config: ExperimentConfig, trained: RunContext) -> None:
    """Refuse images of the data that a fit was trained on, unless training left the same ones aside."""
    one, other = config.data, trained.config.data
    rendered_by = [None if data.synthetic is None else data.synthetic.seed for data in (one, other)]
    if one.dataset.name != other.dataset.name or len(set(rendered_by)) > 1 or trained.config.imported is not None:
        return
    if differing := ", ".join(other_data(config, trained.config)):
        raise UserError(
            f"run {trained.ids.fit} was trained on this very dataset with other settings ({differing}): it may have "
            "seen the people that it would be evaluated on; take its own settings, or other data"
        )


def trained_on(config: ExperimentConfig) -> str:
    """The data of a configuration in short: ``"regdb"``, ``"sysu, rendered with seed 3"``."""
    synthetic = config.data.synthetic
    name = str(config.data.dataset.name)
    if synthetic is not None:
        return f"{name}, rendered with seed {synthetic.seed}"
    return name if rendered(config) is None else f"{name}, rendered"


def origin_entries(run: RunContext) -> dict[str, Any]:
    """What a protocol card says of weights that the suite did not train on the data at hand; nothing of others."""
    if run.config.imported is None:
        return {}
    made_by = run.fit.imported
    assert made_by is not None
    if made_by.trained_on is not None:
        return {"transfer": made_by.trained_on}
    return {"selection": "not known: imported weights"}


def _keep(run: RunContext, classes: int, write: Callable[[], ImportedFile]) -> None:
    """Write weights and record, or check that the images are still those of the record."""
    record = run.store.get(run.ids.fit)
    if isinstance(record, FitRecord):
        check_same_images(record, run.data)
        remember_root(run)
        return
    fields = finished_fields(run, now(), classes)  # reads the images: what is wrong with them leaves no weights behind
    run.directory.mkdir(parents=True, exist_ok=True)
    run.store.put(FitRecord(status="ok", imported=write(), **fields))
    remember_root(run)


def refuse_training(run: RunContext) -> None:
    """Refuse to train where the configuration names imported weights and their record is gone.

    Raises:
        UserError: it does.
    """
    if (origin := run.config.imported) is not None:
        whose = "an imported checkpoint" if origin.run is None else f"fit {origin.run}"
        remedy = "`vireid import` on the checkpoint" if origin.run is None else f"`vireid transfer {origin.run}`"
        raise UserError(
            f"run {run.ids.fit} has the weights of {whose}, which are not in {run.store.runs}: nothing to train; "
            f"run {remedy} again"
        )
