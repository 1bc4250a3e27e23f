"""From a record back to a configuration, and whether its components have changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vireid.config import ExperimentConfig, choices, compose
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.files import without_digest
from vireid.core.records import FitRecord, Record
from vireid.experiment.identity import REGISTRIES, fit_id, other_data
from vireid.experiment.roots import last_root
from vireid.models.base import declared
from vireid.store import Store
from vireid.training import WEIGHTS


def config_of_fit(record: Record, protocols: Sequence[str], root: Path | None, store: Store) -> ExperimentConfig:
    """Rebuild the configuration that a fit was made from, to evaluate or explain it.

    Args:
        record: a finished fit.
        protocols: protocols as YAML mappings; when empty, those of the fit's dataset.
        root: where the images lie now; where it is None, the fit's last root if that is still there.
        store: for messages.

    Raises:
        UserError: not a fit, a bad protocol, or a component whose version has changed since.
    """
    if not isinstance(record, FitRecord):
        raise UserError(f"run {record.id} is a record of kind '{record.kind}'; name a fit (`vireid results list`)")
    made = record.config
    root = root or last_root(store, record.id)
    specification: dict[str, Any] = made["data"]
    tree: dict[str, Any] = {
        "seed": made["seed"],
        "stream": made.get("stream", 0),
        "start_from": made.get("start_from"),
        "data": {key: value for key, value in specification.items() if key != "version"} | {"root": root},
        "recipe": made["recipe"],
        "evaluation": {"protocols": [protocol_mapping(text) for text in protocols] or _protocols_for(specification)},
        **{
            kind: _without_version(made[kind])
            for kind in ("augmentation", "model", "weighting", "curriculum")
            if kind in made
        },
    }
    if (synthetic := specification["synthetic"]) is not None:
        known = {key: value for key, value in synthetic.items() if not key.endswith("_version")}
        tree["data"]["synthetic"] = known
    config = parse(ExperimentConfig, tree, f"record {store.runs / record.id}.json")
    if bare := _files_by_name(config):
        raise UserError(
            f"run {record.id} names {bare[0]} without a digest: it was made when files were known by name alone, so "
            "nothing says which one it read; train it again"
        )
    if fit_id(config) != record.id:
        raise UserError(
            f"run {record.id} was made by other versions of its components ({', '.join(changed_versions(record))}) "
            "than are installed now; train it again, or check out the commit that its record names"
        )
    return config


@dataclass(frozen=True, slots=True)
class EarlierFit:
    """A finished fit that another run builds on."""

    record: FitRecord
    config: ExperimentConfig
    weights: Path
    other_data: str  # what its training images differ in from the run's, resolution aside; empty where nothing


def earlier_fit(run: str, name: str, config: ExperimentConfig, store: Store, remedy: str) -> EarlierFit:
    """The fit ``run`` with its weights, for the run of ``config``; ``name`` opens messages.

    Raises:
        UserError: it is not in the store (``remedy`` says what to do), is no fit, or its weights are gone.
    """
    record, weights = store.get(run), store.directory(run) / WEIGHTS
    if record is None:
        raise UserError(f"{name} is not in {store.runs}; {remedy}")
    if not isinstance(record, FitRecord):
        raise UserError(f"{name} is a record of kind '{record.kind}'; name a finished fit (`vireid results list`)")
    if not weights.is_file():
        raise UserError(f"{name}: its weights {weights} are gone; delete its record beside them and train it again")
    made = config_of_fit(record, [], config.data.root, store)
    return EarlierFit(record, made, weights, ", ".join(other_data(config, made)))


def changed_versions(record: Record) -> list[str]:
    """Components of a record whose version differs now."""
    return [
        f"{kind} {stamp.name}"
        for kind, stamp in record.components.items()
        if kind in REGISTRIES and REGISTRIES[kind].version(stamp.name) != stamp.version
    ] or ["renderer"]


def _files_by_name(config: ExperimentConfig) -> list[str]:
    """Files of a recorded configuration that come without a digest; a teacher has its own."""
    parts = {kind: getattr(config, kind) for kind in REGISTRIES if kind != "dataset"}
    if declared(config.model).teacher is not None:
        parts["model"] = config.model.model_copy(update={"teacher": None})
    parts["data.dataset"] = config.data.dataset
    return [file for key, part in parts.items() for file in without_digest(part, key)]


def _without_version(component: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in component.items() if key != "version"}


def protocol_mapping(text: str) -> Any:
    """A protocol given by name or as a YAML mapping, not yet validated.

    Raises:
        UserError: not YAML.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"protocol '{text}': not YAML: {error}") from error
    return {"name": data} if isinstance(data, str) else data


def _protocols_for(specification: dict[str, Any]) -> list[Any]:
    """The protocols that the config group of the fit's dataset lists."""
    name = specification["dataset"]["name"]
    suffix = "" if specification["synthetic"] is None else "_synthetic"
    group = f"{name}{suffix}" if f"{name}{suffix}" in choices("data") else name
    return [p.model_dump(mode="json") for p in compose([f"data={group}"]).evaluation.protocols]
