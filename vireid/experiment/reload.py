"""From a record back to a configuration, and where the images of its fit were last."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vireid.config import ExperimentConfig
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.files import without_digest
from vireid.core.records import FitRecord, Record
from vireid.experiment.context import RunContext
from vireid.experiment.identity import REGISTRIES, RunIds, other_data
from vireid.models.base import declared
from vireid.overrides import choices, compose
from vireid.store import Store, write_atomically
from vireid.training import WEIGHTS

_ROOT_FILE = "root.txt"


def config_of_fit(record: Record, protocols: Sequence[str], root: Path | None, store: Store) -> ExperimentConfig:
    """Rebuild the configuration that a fit was made from, to evaluate or explain it.

    Args:
        record: a finished fit.
        protocols: protocols as YAML mappings; when empty, those of the fit's dataset.
        root: where the images lie now; where it is None, the fit's last root if that is still there.
        store: for messages.

    Raises:
        UserError: not a fit, or one without weights; a bad protocol, or a component whose version has changed since.
    """
    if not isinstance(record, FitRecord):
        raise UserError(f"run {record.id} is a record of kind '{record.kind}'; name a fit (`vireid results list`)")
    refuse_features(record)
    made = record.config
    root = root or last_root(store, record.id)
    specification: dict[str, Any] = made["data"]
    tree: dict[str, Any] = {
        "seed": made["seed"],
        "stream": made.get("stream", 0),
        "start_from": made.get("start_from"),
        "imported": made.get("imported"),
        "runtime": _processes(made),
        "data": {key: value for key, value in specification.items() if key != "version"} | {"root": root},
        "evaluation": {"protocols": [protocol_mapping(text) for text in protocols] or _protocols_for(specification)},
        **{
            kind: {key: value for key, value in made[kind].items() if key != "version"}
            for kind in ("augmentation", "model", "weighting", "curriculum")
            if kind in made
        },
        **_training(made),
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
    if RunIds(config).fit != record.id:
        raise UserError(
            f"run {record.id} was made by other versions of its components ({', '.join(changed_versions(record))}) "
            "than are installed now; train it again, or check out the commit that its record names"
        )
    return config


def refuse_features(record: FitRecord) -> None:
    """Refuse what needs weights where a fit is features of another program.

    Raises:
        UserError: it is.
    """
    if record.source.method is not None:
        raise UserError(
            f"run {record.id} is features of {record.source.method}, computed by another program: the suite has no "
            "weights of it, only scores (`vireid score` scores the file under further protocols)"
        )


def _training(made: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a fit; of imported weights, whose record has none, what a configuration has by default."""
    if made.get("imported") is None:
        return {"recipe": made["recipe"]}
    default = compose([])
    return {key: getattr(default, key).model_dump(mode="json") for key in ("recipe", "augmentation", "weighting")}


def _processes(made: dict[str, Any]) -> dict[str, Any]:
    """Of the runtime what is part of a fit's identity: how many processes trained it, where that is above 1."""
    processes = made.get("processes")
    return {} if processes is None else {"processes": processes["number"], "batch_norm": processes["batch_norm"]}


@dataclass(frozen=True, slots=True)
class EarlierFit:
    """A finished fit that another run builds on."""

    record: FitRecord
    config: ExperimentConfig
    weights: Path
    other_data: str  # what its training images differ in from the run's, resolution aside; empty where nothing


def earlier_fit(id_: str, name: str, run: RunContext, remedy: str) -> EarlierFit:
    """The fit ``id_`` with its weights, which ``run`` builds on; ``name`` opens messages.

    Raises:
        UserError: it is not in the store (``remedy`` says what to do), is no fit, or its weights are gone.
    """
    record, weights = run.store.get(id_), weights_file(run.store, id_)
    if record is None:
        raise UserError(f"{name} is not in {run.store.runs}; {remedy}")
    if not isinstance(record, FitRecord):
        raise UserError(f"{name} is a record of kind '{record.kind}'; name a finished fit (`vireid results list`)")
    refuse_features(record)
    if not weights.is_file():
        raise UserError(f"{name}: its weights {weights} are gone; delete its record beside them and train it again")
    made = config_of_fit(record, [], run.config.data.root, run.store)
    return EarlierFit(record, made, weights, ", ".join(other_data(run.config, made)))


def weights_file(store: Store, fit: str) -> Path:
    """Where a finished fit's weights lie."""
    return store.artefact(fit, WEIGHTS)


def kept_weights(store: Store, fit: str) -> Path:
    """The same, of a fit whose record is there.

    Raises:
        UserError: they are gone.
    """
    file = weights_file(store, fit)
    if not file.is_file():
        raise UserError(
            f"{file}: the weights of run {fit} are gone, or were never committed; `vireid results show {fit}` prints "
            f"the command that trains it, into another store, or into this one once its {fit}.json is deleted"
        )
    return file


def remember_root(run: RunContext) -> None:
    """Keep the root of a fit's images for commands that name the run alone; rendered images need none.

    It lies beside the record, outside the fit's identity.
    """
    root = run.config.data.root
    if root is not None and run.config.data.synthetic is None and root != last_root(run.store, run.ids.fit):
        write_atomically(run.directory / _ROOT_FILE, f"{root.absolute()}\n")


def last_root(store: Store, fit: str) -> Path | None:
    """That root, if it is still there."""
    file = store.directory(fit) / _ROOT_FILE
    root = Path(file.read_text(encoding="utf-8").rstrip("\n")) if file.is_file() else None
    return root if root is not None and root.is_dir() else None


def changed_versions(record: Record) -> list[str]:
    """Components of a record whose version differs now."""
    return [
        f"{kind} {stamp.name}"
        for kind, stamp in record.components.items()
        if kind in REGISTRIES and REGISTRIES[kind].version(stamp.name) != stamp.version
    ] or ["renderer"]


def _files_by_name(config: ExperimentConfig) -> list[str]:
    """Files of a recorded configuration that come without a digest; a teacher has its own."""
    components = {kind: getattr(config, kind) for kind in REGISTRIES if kind != "dataset"}
    if declared(config.model).teacher is not None:
        components["model"] = config.model.model_copy(update={"teacher": None})
    components["data.dataset"] = config.data.dataset
    return [file for key, component in components.items() for file in without_digest(component, key)]


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
