"""What an importer knows of a public implementation: every key of its state dict, its shape and what becomes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vireid.models.importers.state_file import COUNTER

_BUFFERS = ("running_mean", "running_var", COUNTER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a public state dict."""

    shape: tuple[int, ...]
    target: str | None = None  # name in our model; None where the public code never runs it
    part: str = ""  # of a known-unused key: the stage or block that it belongs to


Layout = Mapping[str, Entry]


class Importer(Protocol):
    """One public implementation. ``Config`` and ``version`` are those of a registered component."""

    Config: ClassVar[type[Any]]
    version: ClassVar[str]
    source: ClassVar[str]  # repository and commit that the layout was read from

    def config(self) -> Any:
        """Configuration of our model with which it computes what the public code does."""
        ...

    def num_classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Number of identity classes of a state dict, None where its classifiers are missing."""
        ...

    def layout(self, num_classes: int) -> Layout:
        """Every key of the public state dict."""
        ...


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
