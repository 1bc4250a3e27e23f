"""Who teaches a configuration's model, as far as the configuration says; of files it reads exported models alone."""

import json
import shlex

from vireid.config import ExperimentConfig, compose, override_key
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.models.base import declared
from vireid.models.teacher_config import TeacherConfig

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
    own = compose([f"seed={config.seed}", f"stream={config.stream}", *teacher.training], _KEY)
    size = {} if teacher.height is None else {"height": teacher.height, "width": teacher.width}
    shared = {name: getattr(config, name) for name in (*_OF_THE_STUDENT, *_inherited(teacher.training))}
    data = config.data.model_copy(update=size)
    chosen = {name: getattr(own, name) for name in type(own).model_fields}
    return parse(ExperimentConfig, chosen | shared | {"data": data}, _KEY)


def training_command(training: ExperimentConfig, overrides: list[str]) -> str:
    """Command that trains a teacher: what it has of its student in full, and its overrides."""
    arguments = [f"seed={training.seed}", f"stream={training.stream}"]
    for name in ("data", *_inherited(overrides)):
        arguments.append(f"{name}={_hydra(getattr(training, name).model_dump(mode='json'))}")
    return shlex.join(["vireid", "train", *arguments, *overrides])


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


def _hydra(value: object) -> str:
    """A plain value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_hydra(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_hydra(part) for part in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"') + '"'
    return json.dumps(value)
