"""Log of the operators that a forward pass executes, with the module that called each and what the rules say of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vireid.profiling.counters.rules import ELEMENTWISE_RULES, FREE, MAC_RULES, Shape, plain_name


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """One executed operator. At most one of ``macs`` and ``elementwise`` is non-zero."""

    operator: str  # e.g. "aten.convolution"
    module: nn.Module  # innermost module whose forward was running
    shapes: tuple[tuple[int, ...], ...]  # of the tensor arguments, then of the first output
    macs: int
    elementwise: int
    known: bool  # has a rule or is known to compute nothing


@contextmanager
def counting_conditions() -> Iterator[None]:
    """No gradient, and attention in its open form.

    The fused inference path of ``nn.MultiheadAttention`` is one opaque operator; the open form does the same
    arithmetic in operators that every counter can see.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, root: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = [root]
        self.calls: list[OperatorCall] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [shapes_of(argument) for argument in args]
        first = result[0] if isinstance(result, tuple | list) and result else result
        output = Shape(first.shape) if isinstance(first, Tensor) else Shape()
        operator = str(func.overloadpacket)
        name = plain_name(operator)
        self.calls.append(
            OperatorCall(
                operator=operator,
                module=self.stack[-1],
                shapes=(*(tuple(i) for i in inputs if isinstance(i, Shape)), tuple(output)),
                macs=MAC_RULES[name](inputs, output) if name in MAC_RULES else 0,
                elementwise=ELEMENTWISE_RULES[name](inputs, output) if name in ELEMENTWISE_RULES else 0,
                known=name in MAC_RULES or name in ELEMENTWISE_RULES or name in FREE,
            )
        )
        return result


def shapes_of(argument: Any) -> Any:
    """Replace a tensor by its shape; leave the rest as it is."""
    return Shape(argument.shape) if isinstance(argument, Tensor) else argument


def log_execution(module: nn.Module, images: Tensor) -> list[OperatorCall]:
    """Run ``module`` once on ``images`` (B×3×H×W) and list what it executed, in order.

    Nothing is pruned: an operator whose result is thrown away is in the list. Hooks are removed afterwards.
    """
    log = _Log(module)

    def enter(inner: nn.Module, _: Any) -> None:
        log.stack.append(inner)

    def leave(_inner: nn.Module, _inputs: Any, _outputs: Any) -> None:
        log.stack.pop()

    handles = []
    for inner in module.modules():
        handles.append(inner.register_forward_pre_hook(enter))
        handles.append(inner.register_forward_hook(leave, always_call=True))
    try:
        with counting_conditions(), log:
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    return log.calls
