"""Bringing a student its teacher: a finished fit of the store, or an exported model, checked and loaded strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.types import LearnsFromTeacher, Model
from vireid.experiment.identity import teacher_fit
from vireid.experiment.model_card import read_card
from vireid.experiment.reload import earlier_fit
from vireid.experiment.teacher_training import exported_digest, teacher_of, teacher_training, training_command
from vireid.models import MODELS
from vireid.models.base import declared
from vireid.models.teacher import Teacher, head_name
from vireid.store import Store
from vireid.training import WEIGHTS


@dataclass(frozen=True, slots=True)
class _Found:
    """A teacher that lies ready."""

    name: str  # for messages
    model: Component
    classes: int
    weights: Path
    size: tuple[int, int] | None  # pixels that it was trained at, where that is known
    fingerprint: str | None  # of the images that it was trained on


def check_teacher(config: ExperimentConfig, store: Store) -> None:
    """Check that a configuration's teacher, if it has one, is there and fits. Reads no image and builds no model.

    Raises:
        UserError: it is missing, was trained on other images, or its embedding has another width than configured.
    """
    if teacher_of(config) is None:
        return
    found = _find(config, store)
    head = f"{head_name(found.model.name)}.weight"
    try:
        with safe_open(found.weights, framework="pt") as file:
            classes, features = file.get_slice(head).get_shape()
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(
            f"{found.name}: {found.weights} has no '{head}' ({str(error).splitlines()[0]}); a teacher needs its "
            "identity classifier, which a model trained without an identity term does not have"
        ) from error
    if classes != found.classes:
        raise UserError(f"{found.name}: its classifier has {classes} classes, its record says {found.classes}")
    wanted = declared(config.model).teacher_features
    if wanted is not None and wanted != features:
        raise UserError(f"{found.name}: its embedding has {features} values: set model.teacher_features={features}")


def bring_teacher(model: Model, config: ExperimentConfig, store: Store, fingerprint: str) -> None:
    """Load the teacher and hand it to the student; nothing happens without one. Draws no random number that counts.

    Args:
        model: the student.
        config: its configuration.
        store: where fits are.
        fingerprint: of the student's training images.

    Raises:
        UserError: as ``check_teacher``; images that differ from those that the teacher was trained on; weights that do
            not fit; a student whose model cannot learn from a teacher.
    """
    teacher = teacher_of(config)
    if teacher is None:
        return
    if not isinstance(model, LearnsFromTeacher):
        raise UserError(f"model '{config.model.name}' has the key 'teacher' and lacks the method learn_from(teacher)")
    found = _find(config, store)
    if found.fingerprint not in (None, fingerprint):
        raise UserError(
            f"{found.name} was trained on other images than the student's (fingerprint {found.fingerprint}, now "
            f"{fingerprint}): train it again on these"
        )
    size = found.size if teacher.input == "own" else None
    model.learn_from(_load(found, size))


def _load(found: _Found, size: tuple[int, int] | None) -> Teacher:
    model_class = MODELS.load(found.model.name)
    name = head_name(found.model.name)
    settings = found.model.model_copy(update={key: None for key, value in found.model if isinstance(value, Path)})
    with torch.random.fork_rng(devices=[]):
        model = cast(nn.Module, model_class(settings, found.classes))
    try:
        model.load_state_dict(load_file(found.weights), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{found.name}: {found.weights} is corrupt or of another model ({reason})") from error
    return Teacher(cast(Model, model), cast(nn.Linear, model.get_submodule(name)), size)


def _find(config: ExperimentConfig, store: Store) -> _Found:
    teacher = teacher_of(config)
    assert teacher is not None
    if teacher.file is None:
        return _fit(config, store)
    digest = exported_digest(teacher.file)
    if teacher.digest not in (None, digest):
        raise UserError(
            f"model.teacher.file = {teacher.file}: its digest is {digest}, expected {teacher.digest}: another model"
        )
    directory = teacher.file if teacher.file.is_dir() else teacher.file.parent
    card = read_card(directory)
    size = None if teacher.height is None or teacher.width is None else (teacher.height, teacher.width)
    return _Found(f"teacher {directory}", card.model, card.num_classes, directory / WEIGHTS, size, None)


def _fit(config: ExperimentConfig, store: Store) -> _Found:
    run = teacher_fit(config)
    assert run is not None
    name, remedy = f"teacher {run}", "name a finished fit (`vireid results list`)"
    if (training := teacher_training(config)) is not None:
        overrides = cast(list[str], cast(Any, config.model).teacher.training)
        remedy = f"train it first: {training_command(training, overrides)}"
    found = earlier_fit(run, name, config, store, remedy)
    if found.other_data:
        raise UserError(
            f"{name} was trained on other data than the student ({found.other_data}): its identities are others, or it "
            "has seen those that the student is evaluated on; train it on the student's"
        )
    made, data = found.config, found.record.data
    size = (made.data.height, made.data.width)
    return _Found(name, made.model, data["identities"], found.weights, size, data["fingerprint"])
