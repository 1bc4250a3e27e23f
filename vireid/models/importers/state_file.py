"""Reading a state dict from a file, without running any code that the file may hold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vireid.core.errors import UserError

_WRAPPERS = ("state_dict", "net", "model", "model_state_dict")
_PREFIX = "module."  # of data-parallel training


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a state dict by name, on the CPU and, where the format allows, mapped from the file on demand.

    Accepted are files of ``torch.save`` and ``.safetensors``, a state dict within a dict under ``state_dict``, ``net``,
    ``model`` or ``model_state_dict``, and names that begin with ``module.``.

    Raises:
        UserError: no such file, not readable, or not a state dict.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file; give the path of a saved state dict")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"checkpoint {path}: not a state dict of tensors: it is corrupt or holds other Python objects, which are "
            "never loaded; save it again with torch.save(model.state_dict(), path)"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"checkpoint {path}: not readable ({type(error).__name__}): the file is corrupt or of another kind; copy "
            "it again, or save it with torch.save(model.state_dict(), path)"
        ) from error
    return _unwrap(path, content)


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before PyTorch 1.6


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
        state = {str(key).removeprefix(_PREFIX): value for key, value in inner.items()}
        if state and all(isinstance(value, Tensor) for value in state.values()):
            return state
    raise UserError(
        f"checkpoint {path}: not a state dict (a mapping of names to tensors, alone or under "
        f"{', '.join(repr(key) for key in _WRAPPERS)}); save model.state_dict()"
    )
