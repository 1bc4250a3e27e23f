"""Weights from files: the one reader of state dicts, a ResNet's published weights, and parts that two models share.

A file is read without running any code that it may hold.
"""

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vireid.core.errors import UserError
from vireid.models.base import SharedWeights
from vireid.models.trunk import IBNKind

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
        return {
            key: value.reshape(()) if key.endswith(COUNTER) and value.numel() == 1 else value
            for key, value in state.items()
        }
    raise UserError(
        f"{where}: not a state dict (a mapping of names to tensors, alone or under "
        f"{', '.join(repr(key) for key in _WRAPPERS)}); save model.state_dict()"
    )


SOURCE = "pretrained weights"
_IBN_A = re.compile(r"(layer\d\.\d+\.bn1)\.(IN|BN)\.\w+")  # norms of the official IBN-a
_FORK_NORM = re.compile(r"layer\d\.\d+\.IN\.\w+")  # instance norms of the fork


def load_trunk(
    path: Path, stem: nn.Module, branches: Sequence[nn.Module], *, ibn: IBNKind = "none", partial: bool = False
) -> None:
    """Load a whole ResNet's weights (torchvision's or IBN-Net's names) into a stem and each of its branches.

    ``fc.*`` is dropped.

    Args:
        path: see ``vireid.models.pretrained.read_state``.
        stem: first part.
        branches: the other parts, each of which gets the weights; the first completes the trunk.
        ibn: kind of the parts, for the message.
        partial: load the weights of a plain ResNet or of IBN-a into parts of ``ibn=fork`` as the fork's code does: its
            instance norms, and bn1 wherever IBN-a has two norms in its place, keep their start. Everything else
            is as strict as ever.

    Raises:
        UserError: unreadable file; missing or unknown keys, or keys of another shape.
    """
    state = {key: value for key, value in read_state(path, SOURCE).items() if not key.startswith("fc.")}
    expected = stem.state_dict() | branches[0].state_dict()
    if partial:
        split = {match[1] for key in state if (match := _IBN_A.fullmatch(key))}
        state = {key: value for key, value in state.items() if not _IBN_A.fullmatch(key)}
        kept = {key for key in expected if key.rpartition(".")[0] in split or _FORK_NORM.fullmatch(key)}
        expected = {key: value for key, value in expected.items() if key in state or key not in kept}
    _check(path, state, expected, ibn)
    for part in (stem, *branches):
        start = part.state_dict()
        part.load_state_dict({key: state.get(key, start[key]) for key in start})


def _check(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], ibn: IBNKind) -> None:
    missing = [key for key in expected if key not in state and not key.endswith(COUNTER)]
    unknown = [key for key in state if key not in expected]
    if faults := faulty_keys({"missing": missing, "unknown": unknown}):
        remedy = "'backbone' and 'ibn' must be the file's"
        if ibn == "fork":
            remedy = (
                "no published weights fit ibn=fork, which keeps bn1 on all channels and adds an instance norm: set "
                "model.pretrained_partial=true to leave those norms at their start as the fork does, or use model.ibn=a"
            )
        raise UserError(f"{SOURCE} {path}: keys {' and '.join(faults)}; {remedy}")
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise UserError(
                f"{SOURCE} {path}: '{key}' has shape {tuple(value.shape)}, the model "
                f"{tuple(expected[key].shape)}; published weights fit width 1 only"
            )


_TRUNK = ("stem", "branch")  # without which two models have nothing in common


def load_shared(state: Mapping[str, Tensor], theirs: SharedWeights, model: nn.Module, ours: SharedWeights) -> None:
    """Load the parts that another model and ``model`` have in common; everything else of ``model`` keeps its start.

    Args:
        state: all weights of the other model, trained on the same identities.
        theirs: its parts.
        model: gets the weights.
        ours: its parts; modules that its configuration leaves out are skipped.

    Raises:
        RuntimeError: a ResNet of another depth, width or kind of norms, or none at all.
    """
    modules = dict(model.named_modules())
    for part, names in ours.items():
        source = f"{theirs[part][0]}."
        weights = {name.removeprefix(source): value for name, value in state.items() if name.startswith(source)}
        present = [modules[name] for name in names if name in modules]
        if part in _TRUNK and not (weights and present):
            raise RuntimeError(f"one of the two backbones is no ResNet of the suite's: it has no {part}")
        for module in present if weights else []:
            module.load_state_dict(weights, strict=True)
