"""From a public state dict to a model of the suite: strict, and with an account of what was left out.

An importer knows of a public implementation every key of its state dict, its shape and what becomes of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vireid.core.errors import UserError
from vireid.models import MODELS
from vireid.models.importers import IMPORTERS
from vireid.models.pretrained import COUNTER, faulty_keys, read_state

_BUFFERS = ("running_mean", "running_var", COUNTER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a public state dict."""

    shape: tuple[int, ...]
    target: str | None = None  # name in our model; None where the public code never runs it
    part: str = ""  # of a known-unused key: the stage or block that it belongs to


Layout = Mapping[str, Entry]


class Importer:
    """One public implementation. ``Config`` and ``version`` are those of a registered component."""

    Config: ClassVar[type[Any]]
    version: ClassVar[str] = "1"
    source: ClassVar[str]  # repository and commit that the layout was read from
    classifiers: ClassVar[tuple[str, ...]]  # public keys of identity classifiers
    modules: ClassVar[dict[str, str]]  # that run: our name -> the public one; below it both name their tensors alike

    def config(self) -> Any:
        """Configuration of our model with which it computes what the public code does."""
        return self.Config()

    def num_classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Number of identity classes of a state dict: rows of the first classifier that is there; None without any."""
        weights = (state[key] for key in self.classifiers if key in state and state[key].dim() == 2)
        return next((len(weight) for weight in weights), None)

    def layout(self, num_classes: int) -> Layout:
        """Every key of the public state dict; shapes come from our own modules, built without memory."""
        config = self.config()
        entries: dict[str, Entry] = {}
        with without_memory():
            model = MODELS.load(config.name)(config, num_classes)
            for ours, theirs in self.modules.items():
                entries |= renamed(model.get_submodule(ours), ours, theirs)
            return entries | self.unused(model)

    def unused(self, model: Any) -> dict[str, Entry]:  # noqa: ARG002 - for those that override it
        """Entries of the parts that the public code builds and never runs."""
        return {}


class _NoDraws(TorchFunctionMode):
    """Skips random initialisation, which on the meta device draws nothing and yet loads a compiler for seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if getattr(func, "__module__", "") == nn.init.__name__:
            return (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules built inside live on the meta device: names and shapes without values."""
    with torch.device("meta"), _NoDraws():
        yield


def build_masks(model: nn.Module) -> None:
    """Build the causal mask of CLIP's text tower, which no state dict holds, in a model that was built without memory.

    Without it captions would be read with whatever memory happens to hold, and nothing would say so.
    """
    parts: Iterator[Any] = model.modules()
    for part in parts:
        mask = getattr(part, "attn_mask", None)
        if isinstance(mask, Tensor) and mask.is_meta:
            part.attn_mask = part.build_causal_mask()


def renamed(module: nn.Module, ours: str, theirs: str) -> dict[str, Entry]:
    """Entries of a part that both sides name alike below its own name; ``module`` may live on the meta device."""
    return {f"{theirs}.{key}": Entry(tuple(value.shape), f"{ours}.{key}") for key, value in module.state_dict().items()}


def unused(module: nn.Module, theirs: str, *, by_child: bool = False) -> dict[str, Entry]:
    """Entries of a part that the public code builds and never runs; ``by_child`` lists its children one by one."""
    return {
        f"{theirs}.{key}": Entry(tuple(value.shape), part=f"{theirs}.{key.partition('.')[0]}" if by_child else theirs)
        for key, value in module.state_dict().items()
    }


def is_parameter(key: str) -> bool:
    """Whether a key names a parameter; the others are buffers of normalisation layers."""
    return not key.endswith(_BUFFERS)


def faults(state: Mapping[str, Tensor], layout: Layout) -> dict[str, list[str]]:
    """What keeps a state dict from fitting a layout: keys ``missing``, ``unknown`` and ``of another shape``."""
    return {
        "missing": [key for key in layout if key not in state and not key.endswith(COUNTER)],
        "unknown": [key for key in state if key not in layout],
        "of another shape": [
            f"{key} {tuple(value.shape)} instead of {layout[key].shape}"
            for key, value in state.items()
            if key in layout and tuple(value.shape) != layout[key].shape
        ],
    }


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
        path: file, see ``vireid.models.pretrained.read_state``.
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
    build_masks(model)
    model.eval()
    return Imported(model, num_classes or 1, *_count(layout, model))


def _check(where: str, arch: str, state: Mapping[str, Tensor], layout: Layout) -> None:
    problems = faults(state, layout)
    count = sum(map(len, problems.values()))
    if count == 0:
        return
    nearest: dict[str, int] = {}
    for other in IMPORTERS.names():
        if other != arch:
            importer: Importer = IMPORTERS.load(other)()
            layout = importer.layout(importer.num_classes(state) or 1)
            nearest[other] = sum(map(len, faults(state, layout).values()))
    better = min(nearest, key=lambda other: nearest[other], default=arch)
    if nearest.get(better, count) < count:
        remedy = f"the file looks like --arch {better}"
    else:
        remedy = f"save the whole state dict of {IMPORTERS.load(arch).source} under its own names"
    raise UserError(f"{where} does not fit --arch {arch}: keys {', '.join(faulty_keys(problems, named=12))}; {remedy}")


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
        # One number may be a vector of one there: shapes are the layout's, which _check has held them to.
        weights[entry.target] = value.to(dtype).reshape(expected[entry.target].shape).contiguous()
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
