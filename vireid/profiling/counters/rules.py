"""Counting rules per operator, stated as formulas on shapes.

Two quantities are kept apart. *MACs* are the multiply-accumulates of convolution, linear and matrix products
(attention included): the figure that papers report. *Element-wise operations* are everything else that computes
(normalisation, activation, pooling, GeM): one per addition, multiplication, comparison or transcendental function, a
fused multiply-add counting as one.

The same rule serves the dispatcher's operators (``aten.native_batch_norm``) and those of a traced graph
(``aten::batch_norm``), because their leading arguments agree. Arguments are given with every tensor replaced by its
``Shape``.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any


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


def _per_output(_: Sequence[Any], output: Shape) -> int:
    return output.numel


def _per_input(inputs: Sequence[Any], _: Shape) -> int:
    return int(inputs[0].numel)


def _softmax(_: Sequence[Any], output: Shape) -> int:
    """Maximum, subtraction, exponential, sum, division."""
    return 5 * output.numel


def _window(inputs: Sequence[Any], output: Shape) -> int:
    kernel = inputs[1]
    kernel = kernel if len(kernel) > 1 else [kernel[0]] * 2
    return output.numel * int(prod(kernel))


def _norm(inputs: Sequence[Any], *, own_statistics: bool, affine: bool) -> int:
    """Statistics of the input: sum, subtraction, squared sum, scale, and one fused multiply-add if affine.

    With stored statistics everything folds into one fused multiply-add per element.
    """
    if not own_statistics:
        return int(inputs[0].numel)
    return int(inputs[0].numel) * (5 if affine else 4)


def _batch_norm(inputs: Sequence[Any], _: Shape) -> int:
    """Batch norm, and instance norm, which runs as batch norm over a 1×(B·C)×H×W view."""
    return _norm(inputs, own_statistics=bool(inputs[5]), affine=inputs[1] is not None)


def _layer_norm(inputs: Sequence[Any], _: Shape) -> int:
    return _norm(inputs, own_statistics=True, affine=inputs[2] is not None)


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
    **dict.fromkeys(_ARITHMETIC, _per_output),
    **dict.fromkeys(_REDUCTIONS, _per_input),
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
