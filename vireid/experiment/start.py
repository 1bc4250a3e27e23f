"""What a fit begins from: weights of an earlier fit or of a trunk, and its teacher."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import ordered_header
from vireid.core.records import Record
from vireid.core.types import LearnsFromTeacher, Model
from vireid.experiment.context import RunContext
from vireid.experiment.identity import exported_digest, read_model_card, teacher_of, teacher_training, training_command
from vireid.experiment.reload import EarlierFit, config_of_fit, earlier_fit, weights_file
from vireid.models import MODELS
from vireid.models.base import SharedWeights, declared
from vireid.models.compact import Teacher, head_name
from vireid.models.pretrained import load_shared
from vireid.models.trunk import TRUNKS, trunk_file
from vireid.store import Store, write_atomically
from vireid.training import WEIGHTS

_TRUNK_PARTS = ("stem", "branch")


def check_start(run: RunContext) -> None:
    """Check that the fit to start from, if there is one, is there and has seen no other images. Builds no model.

    Raises:
        UserError: it is missing, its weights are gone, it was trained on other images, or is of a method that has no
            part in common with the configuration's.
    """
    if run.config.start_from is not None:
        _earlier(run)


def initialise_from(model: Model, run: RunContext) -> None:
    """Load the weights to start from into ``model``; nothing happens without any.

    All of them where the fit is of the same model; those of its ResNet, neck and identity classifier where it is of
    another method, or has training-only weights of other shapes (a student of another teacher).

    Raises:
        UserError: as ``check_start``; weights of another model.
    """
    config = run.config
    if config.start_from is None:
        return
    earlier = _earlier(run)
    module, theirs = cast(nn.Module, model), earlier.config.model.name
    try:
        state = load_file(earlier.weights)
        same = theirs == config.model.name and _shapes(state) == _shapes(module.state_dict())
        if same or not _shared_weights(theirs):
            module.load_state_dict(state, strict=True)
        else:
            load_shared(state, _shared_weights(theirs), module, _shared_weights(config.model.name))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"start_from={config.start_from}: {earlier.weights} is corrupt or of another model ({reason}); start from "
            "a fit of the same model, or of another method on the same ResNet"
        ) from error


def _earlier(run: RunContext) -> EarlierFit:
    id_ = cast(str, run.config.start_from)
    earlier = earlier_fit(id_, f"start_from={id_}", run, "no finished fit has this id (`vireid results list`)")
    if earlier.other_data:
        raise UserError(
            f"start_from={id_}: trained on other data ({earlier.other_data}): it may have seen identities that this "
            "run is evaluated on; start from a fit on the same images"
        )
    ours, theirs = run.config.model.name, earlier.config.model.name
    if ours != theirs and not (_shared_weights(ours) and _shared_weights(theirs)):
        raise UserError(
            f"start_from={id_}: a fit of model '{theirs}' has no ResNet that '{ours}' could begin with; start from a "
            f"fit of model={ours}"
        )
    return earlier


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
    shared = _shared_weights(config.model.name)
    if spec is None or any(name not in shared for name in _TRUNK_PARTS):
        raise UserError(f"run {record.id}: model '{config.model.name}' has no ResNet that others could begin with")
    if config.data.training_modalities != "visible":
        raise UserError(
            f"run {record.id} was trained on both modalities: what begins with it has learned the task already; train "
            "a trunk with data=trunk_people"
        )
    weights = weights_file(store, record.id)
    if not weights.is_file():
        raise UserError(
            f"run {record.id}: its weights {weights} are gone; delete its record beside them and train it again"
        )
    state = _torchvision_names(load_file(weights), [shared[name][0] for name in _TRUNK_PARTS])
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"run {record.id}: weight {name} does not fit half precision")
    data: dict[str, Any] = config.data.model_dump(mode="json")
    metadata = {"run": record.id, "identities": json.dumps(data["synthetic"], sort_keys=True)}
    file = trunk_file(spec, folder)
    write_atomically(file, ordered_header(save(state, metadata)))
    write_atomically(file.with_suffix(".json"), record.model_dump_json(indent=1) + "\n")
    return file


def _torchvision_names(state: dict[str, Tensor], modules: list[str]) -> dict[str, Tensor]:
    """Weights of the modules without their prefix; statistics of norms stay in single precision, as they are few."""
    named: dict[str, Tensor] = {}
    for module in modules:
        for name, value in state.items():
            short = name.removeprefix(f"{module}.")
            if short != name and value.is_floating_point():
                named[short] = value.clone() if "running_" in short else value.half()
    return named


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _shared_weights(name: str) -> SharedWeights:
    shared: SharedWeights = MODELS.declared(name, "shared_weights", {})
    return shared


@dataclass(frozen=True, slots=True)
class _Trained:
    """A teacher with its weights."""

    name: str  # for messages
    model: Component
    classes: int
    weights: Path
    size: tuple[int, int] | None  # pixels that it was trained at, where that is known
    fingerprint: str | None  # of the images that it was trained on


def check_teacher(run: RunContext) -> None:
    """Check that a configuration's teacher, if it has one, is there and fits. Reads no image and builds no model.

    Raises:
        UserError: it is missing, was trained on other images, or its embedding has another width than configured.
    """
    if teacher_of(run.config) is None:
        return
    trained = _trained(run)
    head = f"{head_name(trained.model.name)}.weight"
    try:
        with safe_open(trained.weights, framework="pt") as file:
            classes, features = file.get_slice(head).get_shape()
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(
            f"{trained.name}: {trained.weights} has no '{head}' ({str(error).splitlines()[0]}); a teacher needs its "
            "identity classifier, which a model trained without an identity term does not have"
        ) from error
    if classes != trained.classes:
        raise UserError(f"{trained.name}: its classifier has {classes} classes, its record says {trained.classes}")
    wanted = declared(run.config.model).teacher_features
    if wanted is not None and wanted != features:
        raise UserError(f"{trained.name}: its embedding has {features} values: set model.teacher_features={features}")


def load_teacher(model: Model, run: RunContext) -> None:
    """Load the teacher and hand it to the student ``model``; nothing happens without one.

    Draws no random number that counts.

    Raises:
        UserError: as ``check_teacher``; images that differ from those that the teacher was trained on; weights that do
            not fit; a student whose model cannot learn from a teacher.
    """
    teacher = teacher_of(run.config)
    if teacher is None:
        return
    name, fingerprint = run.config.model.name, run.data.train_fingerprint
    if not isinstance(model, LearnsFromTeacher):
        raise UserError(f"model '{name}' has the key 'teacher' and lacks the method learn_from(teacher)")
    trained = _trained(run)
    if trained.fingerprint not in (None, fingerprint):
        raise UserError(
            f"{trained.name} was trained on other images than the student's (fingerprint {trained.fingerprint}, now "
            f"{fingerprint}): train it again on these"
        )
    size = trained.size if teacher.input == "own" else None
    model.learn_from(_load(trained, size))


def _load(trained: _Trained, size: tuple[int, int] | None) -> Teacher:
    model_class = MODELS.load(trained.model.name)
    name = head_name(trained.model.name)
    settings = trained.model.model_copy(update={key: None for key, value in trained.model if isinstance(value, Path)})
    with torch.random.fork_rng(devices=[]):
        model = cast(nn.Module, model_class(settings, trained.classes))
    try:
        model.load_state_dict(load_file(trained.weights), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{trained.name}: {trained.weights} is corrupt or of another model ({reason})") from error
    return Teacher(cast(Model, model), cast(nn.Linear, model.get_submodule(name)), size)


def _trained(run: RunContext) -> _Trained:
    teacher = teacher_of(run.config)
    assert teacher is not None
    if teacher.file is None:
        return _fit(run)
    digest = exported_digest(teacher.file)
    if teacher.digest not in (None, digest):
        raise UserError(
            f"model.teacher.file = {teacher.file}: its digest is {digest}, expected {teacher.digest}: another model"
        )
    directory = teacher.file if teacher.file.is_dir() else teacher.file.parent
    card = read_model_card(directory)
    size = None if teacher.height is None or teacher.width is None else (teacher.height, teacher.width)
    return _Trained(f"teacher {directory}", card.model, card.num_classes, directory / WEIGHTS, size, None)


def _fit(run: RunContext) -> _Trained:
    id_ = run.ids.teacher
    assert id_ is not None
    name, remedy = f"teacher {id_}", "name a finished fit (`vireid results list`)"
    if (training := teacher_training(run.config)) is not None:
        overrides = cast(list[str], cast(Any, run.config.model).teacher.training)
        remedy = f"train it first: {training_command(training, overrides)}"
    earlier = earlier_fit(id_, name, run, remedy)
    if earlier.other_data:
        raise UserError(
            f"{name} was trained on other data than the student ({earlier.other_data}): its identities are others, or "
            "it has seen those that the student is evaluated on; train it on the student's"
        )
    made, data = earlier.config, earlier.record.data
    size = (made.data.height, made.data.width)
    return _Trained(name, made.model, data["identities"], earlier.weights, size, data["fingerprint"])
