"""What a counter returns, the suite's rules per operator, and the log of the operators that are executed.

Two quantities are kept apart. *MACs* are the multiply-accumulates of convolution, linear and matrix products
(attention included): the figure that papers report. *Element-wise operations* are everything else that computes
(normalisation, activation, pooling, GeM): one per addition, multiplication, comparison or transcendental function, a
fused multiply-add counting as one.

The same rule serves the dispatcher's operators (``aten.native_batch_norm``) and those of a traced graph
(``aten::batch_norm``), because their leading arguments agree. Arguments are given with every tensor replaced by its
``Shape``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vireid.core.config import Component

MAC_CONVENTION = "1 MAC = 1 multiply + 1 add; convolution, linear and matrix products (attention included)"


class Shape(tuple[int, ...]):
    """Shape of a tensor argument; its own type, so that it is never confused with a list of integers."""

    __slots__ = ()

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self)


Rule = Callable[[Sequence[Any], Shape], int]


def _mm(inputs: Sequence[Any], output: Shape) -> int:
    return output.numel * int(inputs[0][-1])


def _addmm(inputs: Sequence[Any], output: Shape) -> int:
    return output.numel * int(inputs[1][-1])


def _convolution(inputs: Sequence[Any], output: Shape) -> int:
    """``weight`` is out×(in/groups)×kernel, or in×(out/groups)×kernel when transposed."""
    image, weight = inputs[0], inputs[1]
    transposed = bool(inputs[6])
    return int((image.numel if transposed else output.numel) * prod(weight[1:]))


def _attention(inputs: Sequence[Any], _: Shape) -> int:
    """Scores L·S·E and weighted values L·S·E_v, for every leading index (batch and head)."""
    query, key, value = inputs[:3]
    return int(prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def _softmax(_: Sequence[Any], output: Shape) -> int:
    """Maximum, subtraction, exponential, sum, division."""
    return 5 * output.numel


def _window(inputs: Sequence[Any], output: Shape) -> int:
    kernel = inputs[1]
    kernel = kernel if len(kernel) > 1 else [kernel[0]] * 2
    return output.numel * int(prod(kernel))


def _norm(inputs: Sequence[Any], *, computes_statistics: bool, affine: bool) -> int:
    """Statistics of the input: sum, subtraction, squared sum, scale, and one fused multiply-add if affine.

    With stored statistics everything folds into one fused multiply-add per element.
    """
    if not computes_statistics:
        return int(inputs[0].numel)
    return int(inputs[0].numel) * (5 if affine else 4)


def _batch_norm(inputs: Sequence[Any], _: Shape) -> int:
    """Batch norm, and instance norm, which runs as batch norm over a 1×(B·C)×H×W view."""
    return _norm(inputs, computes_statistics=bool(inputs[5]), affine=inputs[1] is not None)


def _layer_norm(inputs: Sequence[Any], _: Shape) -> int:
    return _norm(inputs, computes_statistics=True, affine=inputs[2] is not None)


MAC_RULES: Mapping[str, Rule] = {
    "mm": _mm,
    "bmm": _mm,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "convolution": _convolution,
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math": _attention,
}

_ARITHMETIC = """
    abs add sub rsub mul div pow sqrt rsqrt reciprocal exp log neg sign sin cos maximum minimum where lerp
    addcmul addcdiv relu leaky_relu elu celu selu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus
    prelu _prelu_kernel clamp clamp_min clamp_max upsample_nearest2d
""".split()  # noqa: SIM905 - a table of names reads better than quoted strings
_REDUCTIONS = """
    mean sum amax amin max min linalg_vector_norm norm adaptive_avg_pool2d _adaptive_avg_pool2d
    adaptive_max_pool2d cumsum
""".split()  # noqa: SIM905

ELEMENTWISE_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_ARITHMETIC, lambda _, output: output.numel),
    **dict.fromkeys(_REDUCTIONS, lambda inputs, _: int(inputs[0].numel)),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"), _window),
    **dict.fromkeys(("batch_norm", "instance_norm", "native_batch_norm"), _batch_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
}

FREE = frozenset(
    """
    view _unsafe_view reshape _reshape_alias flatten permute transpose t expand expand_as slice select narrow index
    index_select gather cat stack split split_with_sizes chunk unbind squeeze unsqueeze movedim unflatten as_strided
    alias clone contiguous copy detach lift_fresh to _to_copy type_as empty empty_like new_empty empty_strided
    zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full fill zero arange scalar_tensor repeat
    constant_pad_nd pad dropout feature_dropout size Int ScalarImplicit _local_scalar_dense item flip roll
    eq ne lt le gt ge logical_not logical_and logical_or bitwise_not masked_fill floor_divide remainder NumToTensor
    """.split()  # noqa: SIM905
)
"""Operators that move, shape, compare indices or allocate and compute nothing that a cost figure means."""


def plain_name(operator: str) -> str:
    """``aten.relu_`` and ``aten::relu_`` → ``relu``: the name under which rules are filed."""
    name = operator.replace("::", ".").removeprefix("aten.").partition(".")[0]
    stripped = name.rstrip("_")
    return stripped if stripped in MAC_RULES or stripped in ELEMENTWISE_RULES or stripped in FREE else name


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


@dataclass(frozen=True, slots=True)
class Count:
    """One counter's figures for one forward pass."""

    macs: int  # convolution, linear and matrix products, in MACs
    native: float  # what the counter itself reports, in its own convention
    convention: str  # what `native` counts, in words
    elementwise: int  # operations outside `macs` that have a rule
    by_operator: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)  # operator → calls that entered no figure
    notes: tuple[str, ...] = ()
    leaves_out: str = ""  # what is executed but, by the counter's rule, not in `macs`
    wrong: str = ""  # why `macs` is known to be wrong for this module by the counter's own rule


class Counter(Protocol):
    """A MAC counter. ``count`` may alter the module it is given: callers hand it a copy."""

    Config: ClassVar[type[Component]]
    version: ClassVar[str]

    def count(self, module: nn.Module, images: Tensor, executed: Sequence[OperatorCall]) -> Count:
        """Count one forward pass of ``module`` on ``images`` (B×3×H×W); ``executed`` is the log of such a pass."""
        ...


def counting_copy(module: nn.Module) -> nn.Module:
    """Deep copy on the CPU in evaluation mode: counters leave buffers and hooks behind."""
    return deepcopy(module).to("cpu").eval()


def sorted_counts(counts: dict[str, Any]) -> dict[str, int]:
    """Integers, largest first, zeros left out."""
    return {name: int(n) for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n}
