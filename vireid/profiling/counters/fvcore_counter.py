"""fvcore's ``FlopCountAnalysis``: counts the graph that ``torch.jit.trace`` leaves."""

import warnings
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.counters.base import (
    ELEMENTWISE_RULES,
    FREE,
    MAC_RULES,
    Count,
    OperatorCall,
    Rule,
    Shape,
    counting_conditions,
    plain_name,
    sorted_counts,
)

_RULED_MACS = ("scaled_dot_product_attention", "baddbmm")  # products that fvcore has no handle for
_MAC_OPERATORS = frozenset({"conv", "addmm", "bmm", "matmul", "mm", "linear", "einsum", *_RULED_MACS})


class FvcoreCounter:
    """fvcore's own handles for products and convolutions; attention, norms, GeM and pooling by the suite's rules."""

    Config: ClassVar[type[Component]] = Component
    version: ClassVar[str] = "1"

    def count(self, module: nn.Module, images: Tensor, _executed: Sequence[OperatorCall]) -> Count:
        """Count one forward pass of ``module`` on ``images`` (B×3×H×W), from a trace of its own."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # fvcore scripts functions on import, which PyTorch deprecates
            from fvcore.nn import FlopCountAnalysis
            from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS as STOCK

        analysis = FlopCountAnalysis(module, (images,))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        stock: list[float] = []
        for name in _RULED_MACS:
            analysis.set_op_handle(f"aten::{name}", _handle(name, MAC_RULES[name]))
        for name, rule in ELEMENTWISE_RULES.items():
            for operator in (f"aten::{name}", f"aten::{name}_"):
                analysis.set_op_handle(operator, _handle(name, rule, STOCK.get(operator), stock))
        with counting_conditions():
            by_operator: Tally[str] = Tally(analysis.by_operator())
        macs = sum(count for name, count in by_operator.items() if name in _MAC_OPERATORS)
        unsupported: Tally[str] = Tally(analysis.unsupported_ops())
        return Count(
            macs=int(macs),
            native=float(macs - sum(by_operator[name] for name in _RULED_MACS) + sum(stock)),
            convention="reports 1 per MAC, 2 per normalised, 1 per pooled element; prunes what the output does not use",
            elementwise=int(sum(by_operator.values()) - macs),
            by_operator=sorted_counts(by_operator),
            uncounted=sorted_counts({op: n for op, n in unsupported.items() if plain_name(op) not in FREE}),
            notes=(
                "traces outputs only: branches that the output does not use are executed, but not in this figure",
                "attention, normalisation, GeM and pooling by the suite's rules",
            ),
            leaves_out="branches that the output does not use",
        )


def _handle(
    name: str, rule: Rule, own: Callable[..., float] | None = None, own_counts: list[float] | None = None
) -> Callable[[Sequence[Any], Sequence[Any]], Tally[str]]:
    """Wrap a rule on shapes as a handle on values of a traced graph.

    What fvcore's own handle for the operator would have counted is appended to ``own_counts``.
    """

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Tally[str]:
        if own is not None and own_counts is not None:
            own_counts.append(own(inputs, outputs))
        shape = _value(outputs[0])
        if not isinstance(shape, Shape):
            return Tally()
        arguments = [_value(value) for value in inputs]
        if not arguments or not isinstance(arguments[0], Shape):
            return Tally()  # arithmetic on sizes, not on tensors
        return Tally({name: rule(arguments, shape)})

    return handle


def _value(value: Any) -> Any:
    if value.isCompleteTensor():
        return Shape(value.type().sizes())
    if value.type().kind() == "ListType" and value.node().kind() == "prim::ListConstruct":
        return [_value(item) for item in value.node().inputs()]
    return value.toIValue()
