"""Activation checkpointing (Chen et al., arXiv 1604.06174): marked modules keep their input and run again in backward.

A module is marked by a class attribute ``recomputable = True``; the residual blocks of this suite's ResNets are. Peak
memory then holds the maps between the blocks and what one block keeps, at the price of a second forward pass.

The second run changes nothing that the first has done: it works on copies of the module's buffers, so that running
statistics learn from a batch once, it draws the same random numbers (dropout), and it computes in the same precision.
Therefore the output of a marked module, in training mode, must not depend on buffers that its own forward changes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vireid.core.errors import UserError

MARK = "recomputable"


class Recomputation:
    """Marked modules of a model, each turned into one of a subclass that recomputes, until ``release``.

    A subclass rather than a wrapper: names in the state dict stay, and a copy of the model is a model of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        """Args: the model, changed in place.

        Raises:
            UserError: none of its modules is marked.
        """
        marked = [module for module in model.modules() if getattr(module, MARK, False)]
        inside = {id(part) for module in marked for part in module.modules() if part is not module}
        self._modules = [(module, type(module)) for module in marked if id(module) not in inside]
        if not self._modules:
            raise UserError(
                f"recipe.activation_checkpointing: no module of {type(model).__name__} can be recomputed; set "
                f"`{MARK} = True` in the class of its blocks, or set activation_checkpointing=false"
            )
        for module, kind in self._modules:
            module.__class__ = _recomputing(kind)

    def release(self) -> None:
        """Make the modules what they were."""
        for module, kind in self._modules:
            module.__class__ = kind


def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    def forward(self: nn.Module, *args: Any) -> Any:
        if not torch.is_grad_enabled():
            return kind.forward(self, *args)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _copied_buffers(self)

        return checkpoint(kind.forward, self, *args, use_reentrant=False, context_fn=contexts)

    return type(f"Recomputing{kind.__name__}", (kind,), {"forward": forward, "__module__": __name__})


@contextmanager
def _copied_buffers(module: nn.Module) -> Iterator[None]:
    """Let ``module`` work on copies of its buffers."""
    kept = [(part, dict(part._buffers)) for part in module.modules()]
    for part, buffers in kept:
        part._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for part, buffers in kept:
            part._buffers.update(buffers)
