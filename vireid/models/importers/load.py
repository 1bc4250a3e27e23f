"""From a public state dict to a model of the suite: strict, and with an account of what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models import MODELS
from vireid.models.importers import IMPORTERS
from vireid.models.importers.layout import Importer, Layout, faults, is_parameter, without_memory
from vireid.models.importers.state_file import read_state

_NAMED = 12  # keys of one kind that a message names


@dataclass(frozen=True, slots=True)
class Imported:
    """A model with the weights of a public state dict, and what the file held."""

    model: Any  # a model of the suite, in evaluation mode
    num_classes: int
    parameters: dict[str, int]  # in the file: deployed, training_only, dead
    dead: dict[str, int]  # stages and blocks that the public code never runs or never trains -> parameters


def import_state(path: Path, arch: str) -> Imported:
    """Read the state dict of a public implementation.

    Args:
        path: file, see ``vireid.models.importers.state_file.read_state``.
        arch: name in ``IMPORTERS``.

    Raises:
        UserError: unreadable file; keys missing, unknown, of another shape or with values that are not finite.
    """
    IMPORTERS.load(arch)  # an unknown name is told before a large file is read
    return convert_state(read_state(path), arch, f"checkpoint {path}")


def convert_state(state: Mapping[str, Tensor], arch: str, where: str) -> Imported:
    """Build the model of an architecture around the tensors of a public state dict; ``where`` opens messages.

    Raises:
        UserError: keys missing, unknown, of another shape or with values that are not finite.
    """
    importer: Importer = IMPORTERS.load(arch)()
    num_classes = importer.num_classes(state)
    layout = importer.layout(num_classes or 1)
    _check(where, arch, state, layout)
    config = importer.config()
    with without_memory():
        model = MODELS.load(config.name)(config, num_classes)
    weights = _rename(where, state, layout, model)
    model.load_state_dict(weights, strict=True, assign=True)
    model.eval()
    return Imported(model, num_classes or 1, *_count(layout, model))


def _check(where: str, arch: str, state: Mapping[str, Tensor], layout: Layout) -> None:
    problems = faults(state, layout)
    count = sum(map(len, problems.values()))
    if count == 0:
        return
    lines = [
        f"{len(keys)} {kind} ({', '.join(keys[:_NAMED])}{', …' if len(keys) > _NAMED else ''})"
        for kind, keys in problems.items()
        if keys
    ]
    nearest = {other: _fault_count(state, other) for other in IMPORTERS.names() if other != arch}
    better = min(nearest, key=lambda other: nearest[other], default=arch)
    if nearest.get(better, count) < count:
        remedy = f"the file looks like --arch {better}"
    else:
        remedy = f"save the whole state dict of {IMPORTERS.load(arch).source} under its own names"
    raise UserError(f"{where} does not fit --arch {arch}: keys {', '.join(lines)}; {remedy}")


def _fault_count(state: Mapping[str, Tensor], arch: str) -> int:
    importer: Importer = IMPORTERS.load(arch)()
    return sum(map(len, faults(state, importer.layout(importer.num_classes(state) or 1)).values()))


def _rename(where: str, state: Mapping[str, Tensor], layout: Layout, model: nn.Module) -> dict[str, Tensor]:
    """Tensors of the parts that run, under our names and in our precision."""
    expected = model.state_dict()
    weights: dict[str, Tensor] = {}
    for key, entry in layout.items():
        if entry.target is None:
            continue
        if key not in state:  # a counter of batch norm
            weights[entry.target] = torch.zeros((), dtype=torch.int64)
            continue
        value, dtype = state[key], expected[entry.target].dtype
        if value.is_floating_point() != dtype.is_floating_point:
            raise UserError(f"{where}: '{key}' holds {value.dtype}, expected {dtype}; save it as it was trained")
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"{where}: '{key}' holds NaN or infinity; the training that wrote it diverged")
        weights[entry.target] = value.to(dtype).contiguous()
    return weights


def _count(layout: Layout, model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters of the file by role, and the dead ones by part."""
    roles = model.parameter_roles()
    counts = {"deployed": 0, "training_only": 0, "dead": 0}
    dead: dict[str, int] = {}
    for key, entry in layout.items():
        if is_parameter(key):
            size = torch.Size(entry.shape).numel()
            role = "dead" if entry.target is None else roles[entry.target]
            counts[role] += size
            if role == "dead":
                part = entry.part or key.partition(".")[0]
                dead[part] = dead.get(part, 0) + size
    return counts, dead
