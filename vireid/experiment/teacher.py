"""A student's teacher: a finished fit of the store, or an exported model, checked and loaded strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.types import LearnsFromTeacher, Model
from vireid.experiment.context import RunContext
from vireid.experiment.model_card import exported_digest, read_card
from vireid.experiment.reload import earlier_fit
from vireid.experiment.teacher_training import teacher_of, teacher_training, training_command
from vireid.models import MODELS
from vireid.models.base import declared
from vireid.models.teacher import Teacher, head_name
from vireid.training import WEIGHTS


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
    card = read_card(directory)
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
