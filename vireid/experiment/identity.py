"""Which ids a configuration's records have. Pure: reads no data and builds no model, so planning costs nothing."""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from vireid import evaluation
from vireid.config import ExperimentConfig
from vireid.core import corruption
from vireid.core.config import Component, Strict, canonical_json, component, deciding, parse, resolved
from vireid.core.environment import package_version
from vireid.core.errors import UserError
from vireid.core.files import by_content, file_digest
from vireid.core.identity import run_id
from vireid.core.processor import INTEGER_PRECISIONS, kernels_of_runtime
from vireid.core.records import ComponentStamp, DataKind
from vireid.core.registry import Registry
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.data.synthetic.config import read_card
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.test_time import ModelProtocol
from vireid.models import MODELS
from vireid.models.base import TeacherConfig, declared
from vireid.overrides import compose, override_key
from vireid.profiling import RUNTIMES
from vireid.training import WEIGHTS
from vireid.weighting import CURRICULA, WEIGHTINGS

_OF_THE_STUDENT = ("data", "evaluation", "profile", "runtime")
_KEY = "model.teacher.training"
_INHERITED = ("recipe", "augmentation", "weighting", "curriculum")


def teacher_of(config: ExperimentConfig) -> TeacherConfig | None:
    """The teacher that a model's configuration names in its key ``teacher``."""
    return declared(config.model).teacher


def teacher_training(config: ExperimentConfig) -> ExperimentConfig | None:
    """Configuration of the teacher's own training, where the teacher is named by it; None otherwise.

    Its images are the student's, at a resolution of its own. Whatever else its overrides do not choose (seed, recipe,
    augmentation, weighting, curriculum) is the student's too.

    Raises:
        UserError: overrides that are wrong, or that set what is the student's.
    """
    teacher = teacher_of(config)
    if teacher is None or teacher.training is None:
        return None
    _check_overrides(teacher.training)
    composed = compose([f"seed={config.seed}", f"stream={config.stream}", *teacher.training], _KEY)
    size = {} if teacher.height is None else {"height": teacher.height, "width": teacher.width}
    shared = {name: getattr(config, name) for name in (*_OF_THE_STUDENT, *_inherited(teacher.training))}
    data = config.data.model_copy(update=size)
    chosen = {name: getattr(composed, name) for name in type(composed).model_fields}
    return parse(ExperimentConfig, chosen | shared | {"data": data}, _KEY)


def training_command(training: ExperimentConfig, overrides: list[str]) -> str:
    """Command that trains a teacher: what it has of its student in full, and its overrides."""
    arguments = [f"seed={training.seed}", f"stream={training.stream}"]
    for name in ("data", *_inherited(overrides)):
        arguments.append(f"{name}={hydra_text(getattr(training, name).model_dump(mode='json'))}")
    arguments += processes_overrides(training)
    return shlex.join(["vireid", "train", *arguments, *overrides])


def processes_overrides(config: ExperimentConfig) -> list[str]:
    """Overrides that make a fit by as many processes."""
    if config.runtime.processes == 1:
        return []
    mode = config.runtime.batch_norm
    own = [] if mode == "synchronised" else [f"runtime.batch_norm={mode}"]
    return [f"runtime.processes={config.runtime.processes}", *own]


def _inherited(overrides: list[str]) -> list[str]:
    chosen = {override_key(override) for override in overrides}
    return [name for name in _INHERITED if name not in chosen]


def _check_overrides(overrides: list[str]) -> None:
    chosen = {override_key(override) for override in overrides}
    for override in overrides:
        section, dot, _ = override_key(override).partition(".")
        if section in _OF_THE_STUDENT:
            raise UserError(
                f"{_KEY}: '{override}': {section} is the student's; the teacher's resolution is set by "
                "model.teacher.height and width"
            )
        if dot and section not in chosen:
            raise UserError(f"{_KEY}: '{override}' changes a {section} that is not chosen: put {section}=… before it")
    if "model" not in chosen:
        raise UserError(f"{_KEY}: no model is chosen: put model=… among {overrides}")


def hydra_text(value: object) -> str:
    """A plain value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {hydra_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(hydra_text(part) for part in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"') + '"'
    return json.dumps(value)


REGISTRIES: dict[str, Registry] = {
    "dataset": DATASETS,
    "augmentation": AUGMENTATIONS,
    "model": MODELS,
    "weighting": WEIGHTINGS,
    "curriculum": CURRICULA,
}

Dump = Callable[[BaseModel], dict[str, Any]]  # ``resolved`` for records, ``deciding`` for identities


def data_kind(config: ExperimentConfig) -> DataKind:
    """Whether the images are real or rendered."""
    return "real" if rendered(config) is None else "synthetic"


def rendered(config: ExperimentConfig) -> dict[str, Any] | None:
    """What the renderer made the images with, as configured or as their root says; None for real images.

    What a root says is no part of an identity: fingerprints tell its images from real ones.

    Raises:
        UserError: the root's card is damaged.
    """
    data = config.data
    if data.synthetic is not None:
        return data.synthetic.specification()
    card = None if data.root is None else read_card(data.root)
    return None if card is None else dict(card.get("specification") or {})


def processes_specification(config: ExperimentConfig) -> dict[str, Any]:
    """How many processes train a fit together and what their batch norms see; nothing for a single one.

    Threads only add up in another order. Processes draw augmentation and dropout each for itself, so that their number
    decides more than rounding.
    """
    runtime = config.runtime
    if runtime.processes == 1:
        return {}
    return {"processes": {"number": runtime.processes, "batch_norm": runtime.batch_norm}}


def data_specification(config: ExperimentConfig, dump: Dump = resolved) -> dict[str, Any]:
    """What the images are: dataset, split, resolution, renderer and its parameters; never where they lie."""
    data = config.data
    return {
        "dataset": dump(by_content(data.dataset, "data.dataset", names=dump is resolved)),
        "version": DATASETS.version(data.dataset.name),
        "split": data.split,
        "height": data.height,
        "width": data.width,
        "shuffle_identities": data.shuffle_identities,
        "synthetic": None if data.synthetic is None else data.synthetic.specification(),
        **({"hold_out_dev": True} if data.hold_out_dev else {}),
        **({} if data.training_modalities == "both" else {"training_modalities": data.training_modalities}),
        **({} if data.captions is None else {"captions": dump(data.captions)}),
    }


def other_data(one: ExperimentConfig, other: ExperimentConfig) -> Iterator[str]:
    """What of two configurations' training images differs, resolution aside."""
    ours, theirs = data_specification(one, deciding), data_specification(other, deciding)
    for key in ours.keys() | theirs.keys():
        if key not in ("height", "width", "captions") and ours.get(key) != theirs.get(key):
            yield f"data.{key}"
    if one.data.shuffle_identities and one.training_seed != other.training_seed:
        yield "seed of the shuffled identities"


def _curriculum(config: ExperimentConfig) -> list[str]:
    """The kind, where there is one: a run without is identified and stamped as before curricula existed."""
    return [] if config.curriculum.name == "off" else ["curriculum"]


def component_specification(kind: str, config: Component, dump: Dump = resolved) -> dict[str, Any]:
    """A component's configuration and version; its files are in it by the digest of their content.

    A teacher is left out: it costs nothing where a model is deployed, and a fit has it in its own specification.
    """
    if declared(config).teacher is not None:
        config = config.model_copy(update={"teacher": None})
    return {**dump(by_content(config, kind, names=dump is resolved)), "version": REGISTRIES[kind].version(config.name)}


def runtime_version(runtime: Component) -> str | None:
    """Version of the library that a runtime is named after; None where it has none or that is not installed."""
    return next(filter(None, map(package_version, (runtime.name, f"{runtime.name}-gpu"))), None)


def computed_with(runtime: Component) -> dict[str, str | None]:
    """Kernels and version of the library on this machine, of a runtime that computes in integers; else nothing."""
    if getattr(runtime, "precision", None) not in INTEGER_PRECISIONS:
        return {}
    return {"kernels": kernels_of_runtime(runtime.name), "runtime_version": runtime_version(runtime)}


def deployed_protocols(config: ExperimentConfig) -> list[ModelProtocol]:
    """Protocols that deployed files are evaluated under: on images as they are, without text or mirror images."""
    protocols = config.evaluation.protocols
    return [p for p in protocols if p.text == "none" and p.test_time == "none" and p.corruption is None]


@dataclass(frozen=True, eq=False)
class RunIds:
    """Ids of a configuration's records, each computed once: the id of a teacher takes composing its training."""

    config: ExperimentConfig

    @cached_property
    def teacher(self) -> str | None:
        """Id of the fit that teaches; None where nobody does, or an exported model."""
        if (training := teacher_training(self.config)) is not None:
            return RunIds(training).fit
        teacher = teacher_of(self.config)
        return None if teacher is None else teacher.run

    @cached_property
    def fit(self) -> str:
        """Identity of the fit."""
        return run_id(self.fit_specification(deciding))

    @cached_property
    def cost(self) -> str:
        """Identity of the configuration's cost: model and resolution, not how it was trained."""
        model, data = component_specification("model", self.config.model, deciding), self.config.data
        return run_id({"kind": "cost", "model": model, "height": data.height, "width": data.width})

    def evaluation(self, protocol: ProtocolConfig) -> str:
        """Identity of the fit's evaluation under one protocol."""
        return run_id(self._evaluation(protocol))

    def deployed(self, protocol: ProtocolConfig, runtime: Component) -> str:
        """Identity of the evaluation, under one protocol, of what a runtime makes of the fit.

        Of an integer file the kernels that it meets here and the library's version are part of it: its accuracy
        belongs to both.
        """
        version = RUNTIMES.version(runtime.name)
        settings = {**deciding(by_content(runtime, "evaluation.deployed")), "version": version}
        return run_id({**self._evaluation(protocol), "deployed": {**settings, **computed_with(runtime)}})

    def fit_specification(self, dump: Dump = resolved) -> dict[str, Any]:
        """Everything that decides the fit; of imported weights their content, and the images that they are met with."""
        config = self.config
        if config.imported is not None:
            return {
                "kind": "fit",
                "seed": config.seed,  # rendered images follow it
                "imported": dump(config.imported),
                "data": data_specification(config, dump),
                "model": component_specification("model", config.model, dump),
            }
        specification: dict[str, Any] = {
            "kind": "fit",
            "seed": config.seed,
            **({"stream": config.stream} if config.stream else {}),
            **({"start_from": config.start_from} if config.start_from else {}),
            **processes_specification(config),
            "data": data_specification(config, dump),
            "recipe": dump(config.recipe),
            **{
                kind: component_specification(kind, getattr(config, kind), dump)
                for kind in ("augmentation", "model", "weighting", *_curriculum(config))
            },
        }
        if (teacher := teacher_of(config)) is not None:
            specification["model"]["teacher"] = self._teacher(teacher, dump)
        return specification

    def _teacher(self, teacher: TeacherConfig, dump: Dump) -> dict[str, Any]:
        """The teacher by a fit's id or the digest of an exported model, however the configuration names it."""
        if teacher.file is None:
            by_id = {"run": self.teacher, "training": None, "height": None, "width": None}
            return dump(teacher.model_copy(update=by_id))
        digest = teacher.digest or exported_digest(teacher.file)
        named = dump(teacher.model_copy(update={"digest": digest, "file": Path(teacher.file.name)}))
        return named if dump is resolved else {key: value for key, value in named.items() if key != "file"}

    def _evaluation(self, protocol: ProtocolConfig) -> dict[str, Any]:
        return {
            "kind": "evaluation",
            "fit": self.fit,
            "protocol": deciding(protocol),
            **({} if evaluation.VERSION == "1" else {"evaluator": evaluation.VERSION}),  # older ids are of the first
            **({} if getattr(protocol, "corruption", None) is None else {"corruption": corruption.VERSION}),
        }


def component_stamps(config: ExperimentConfig) -> dict[str, ComponentStamp]:
    """Version and source digest of every component that takes part."""
    stamps = {}
    training = () if config.imported is not None else ("augmentation", "weighting", *_curriculum(config))
    for kind in ("dataset", "model", *training):
        registry = REGISTRIES[kind]
        name = config.data.dataset.name if kind == "dataset" else getattr(config, kind).name
        stamps[kind] = ComponentStamp(name=name, version=registry.version(name), digest=registry.source_digest(name))
    return stamps


MODEL_CARD = "model.json"


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


def read_model_card(directory: Path) -> ModelCard:
    """Card of an imported model.

    Raises:
        UserError: missing or unreadable.
    """
    file = directory / MODEL_CARD
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
    card, weights = directory / MODEL_CARD, directory / WEIGHTS
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
    card = read_model_card(directory)
    model = {**card.model.model_dump(mode="json"), "version": MODELS.version(card.model.name)}
    content = {"weights": file_digest(directory / WEIGHTS), "model": model, "num_classes": card.num_classes}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
