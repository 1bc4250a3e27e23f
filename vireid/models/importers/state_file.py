"""Reading a state dict from a file, without running any code that the file may hold: the one place that does."""

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vireid.core.errors import UserError

COUNTER = "num_batches_tracked"  # of batch norm: absent from old files, of shape [1] in some; decides nothing
_WRAPPERS = ("state_dict", "net", "model", "model_state_dict")
_PREFIX = "module."  # of data-parallel training
_REFUSED = re.compile(r"GLOBAL (?P<name>[\w.]+) (?:was|whose)|got <class '(?P<type>[\w.]+)'>")  # in torch's message
_INERT_DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32")


def read_state(path: Path, where: str = "checkpoint") -> dict[str, Tensor]:
    """Tensors of a state dict by name, on the CPU and, where the format allows, mapped from the file on demand.

    Accepted are files of ``torch.save``, old and new, and ``.safetensors``; a state dict within a dict under
    ``state_dict``, ``net``, ``model`` or ``model_state_dict``, with whatever numbers, texts, arrays and optimiser
    states lie beside it; and names that begin with ``module.``. Precision is as stored.

    Args:
        path: the file.
        where: what the file is to the caller; opens messages.

    Raises:
        UserError: no such file, not readable, holding objects of a type that is never loaded, or not a state dict.
    """
    if not path.is_file():
        raise UserError(f"{where} {path}: no such file; give the path of a saved state dict, or null to do without")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        what = "is corrupt or holds" if refused is None else f"holds {refused['name'] or refused['type']}, one of the"
        raise UserError(
            f"{where} {path}: not a readable state dict: it {what} other Python objects, which are never loaded (they "
            "may be programs); save it again with torch.save(model.state_dict(), path)"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{where} {path}: not a readable state dict ({type(error).__name__}): the file is corrupt or of another "
            "kind; copy it again, or save it with torch.save(model.state_dict(), path)"
        ) from error
    return _unwrap(f"{where} {path}", content)


def faulty_keys(faults: Mapping[str, Sequence[str]], named: int = 3) -> list[str]:
    """``"2 missing (conv1.weight, bn1.bias)"`` for each kind of fault that has keys; names the first of them."""
    return [
        f"{len(keys)} {kind} ({', '.join(keys[:named])}{', …' if len(keys) > named else ''})"
        for kind, keys in faults.items()
        if keys
    ]


def _load(path: Path) -> Any:
    with torch.serialization.safe_globals(_inert()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # the format before PyTorch 1.6


def _inert() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """NumPy's numbers and arrays of numbers, as NumPy 1 and 2 name them: data beside weights that can do nothing."""
    made_by = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
    named = [(made, f"numpy.{core}.multiarray.{name}") for name, made in made_by.items() for core in ("core", "_core")]
    dtypes = [getattr(np.dtypes, f"{name}DType") for name in (*_INERT_DTYPES, "Float64", "Str", "Bytes")]
    return [*named, np.ndarray, np.dtype, *dtypes]


def _unwrap(where: str, content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is not None:
            content = inner
            continue
        if any(isinstance(value, Mapping) for value in content.values()):
            break
        state = {str(key).removeprefix(_PREFIX): value for key, value in content.items() if isinstance(value, Tensor)}
        if not state:
            break
        return {key: value.reshape(()) if _is_counter(key, value) else value for key, value in state.items()}
    raise UserError(
        f"{where}: not a state dict (a mapping of names to tensors, alone or under "
        f"{', '.join(repr(key) for key in _WRAPPERS)}); save model.state_dict()"
    )


def _is_counter(key: str, value: Tensor) -> bool:
    return key.endswith(COUNTER) and value.numel() == 1
