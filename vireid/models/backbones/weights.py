"""Published weights of a whole classifier into the part of it that is used: strict, and never downloaded."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vireid.core.errors import UserError
from vireid.models.importers.state_file import COUNTER, read_state

_PLACE = "pretrained weights"
_NAMED = 3  # keys of one kind that a message names


def load_weights(path: Path, module: nn.Module, *, prefix: str = "", dropped: tuple[str, ...] = ()) -> None:
    """Load a state dict in which the module's keys begin with ``prefix``.

    Args:
        path: ``.safetensors``, or saved by torch.
        module: gets the weights.
        prefix: of its keys in the file.
        dropped: beginnings of the file's keys that belong to its classifier.

    Raises:
        UserError: unreadable file; keys missing, unknown or of another shape.
    """
    state = {
        key.removeprefix(prefix): value
        for key, value in read_state(path, _PLACE).items()
        if not key.startswith(dropped or ("\n",))
    }
    expected = module.state_dict()
    faults = {
        "missing": [key for key in expected if key not in state and not key.endswith(COUNTER)],
        "unknown": [key for key in state if key not in expected],
        "of another shape": [key for key in state if key in expected and state[key].shape != expected[key].shape],
    }
    found = [
        f"{len(keys)} {kind} ({', '.join(keys[:_NAMED])}{', …' if len(keys) > _NAMED else ''})"
        for kind, keys in faults.items()
        if keys
    ]
    if found:
        raise UserError(
            f"{_PLACE} {path}: keys {' and '.join(found)}; 'backbone' must be the file's, and published "
            "weights fit width 1 only"
        )
    module.load_state_dict({key: state.get(key, expected[key]) for key in expected})
