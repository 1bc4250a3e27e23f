"""MACs by three libraries: PyTorch's counter counts what is executed, fvcore the traced graph, thop by module class."""

import warnings
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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


class TorchCounter:
    """MACs by PyTorch's formulas for executed operators; everything else by the suite's rules."""

    Config: ClassVar[type[Component]] = Component
    version: ClassVar[str] = "1"

    def count(self, module: nn.Module, images: Tensor, executed: Sequence[OperatorCall]) -> Count:
        """Count one forward pass of ``module`` on ``images`` (B×3×H×W); ``executed`` is the log of such a pass."""
        with counting_conditions(), FlopCounterMode(display=False) as mode:
            module(images)
        flops = {str(operator): count for operator, count in mode.get_flop_counts()["Global"].items()}
        by_operator: Tally[str] = Tally({operator: count // 2 for operator, count in flops.items()})
        uncounted: Tally[str] = Tally()
        elementwise = 0
        for call in executed:
            if call.operator in flops:
                continue
            elementwise += call.elementwise
            by_operator[call.operator] += call.elementwise
            if not call.known or plain_name(call.operator) in MAC_RULES:
                uncounted[call.operator] += 1
        total = mode.get_total_flops()
        return Count(
            macs=total // 2,
            native=total,
            convention="reports FLOPs, 2 per MAC, of executed products and convolutions",
            elementwise=elementwise,
            by_operator=sorted_counts(by_operator),
            uncounted=sorted_counts(uncounted),
            notes=("counts what is executed; element-wise operators by the suite's rules",),
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
    name: str, rule: Rule, native: Callable[..., float] | None = None, native_counts: list[float] | None = None
) -> Callable[[Sequence[Any], Sequence[Any]], Tally[str]]:
    """Wrap a rule on shapes as a handle on values of a traced graph.

    What fvcore's own handle for the operator would have counted is appended to ``native_counts``.
    """

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Tally[str]:
        if native is not None and native_counts is not None:
            native_counts.append(native(inputs, outputs))
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


_PRODUCTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class ThopCounter:
    """thop's rules for convolution and linear modules; what modules without a rule execute, by the suite's rules.

    thop sees module classes only, so that attention written with functions, or inside ``nn.MultiheadAttention``, is
    invisible to it. Those products are added from the log of executed operators, and the amount is named in the notes.
    """

    Config: ClassVar[type[Component]] = Component
    version: ClassVar[str] = "1"

    def count(self, module: nn.Module, images: Tensor, executed: Sequence[OperatorCall]) -> Count:
        """Count one forward pass of ``module`` on ``images`` (B×3×H×W); ``executed`` is the log of such a pass."""
        from thop.profile import profile, register_hooks

        ruled = {*register_hooks, *_NORMS} - {nn.Sequential}
        holder = _Holder(module)  # thop never reads the total of a ruled root module
        with counting_conditions():
            native, _, tree = profile(
                holder,
                inputs=(images,),
                custom_ops=dict.fromkeys(_NORMS, _count_norm),
                verbose=False,
                ret_layer_info=True,
            )
        by_operator: Tally[str] = Tally()
        macs = 0
        for inner, operations in _counted(holder, tree):
            by_operator[type(inner).__name__] += int(operations)
            macs += int(operations) if isinstance(inner, _PRODUCTS) else 0
        modules_total = sum(by_operator.values())
        uncounted: Tally[str] = Tally()
        added, elementwise = 0, modules_total - macs
        for call in executed:
            if type(call.module) in ruled:
                continue
            added += call.macs
            elementwise += call.elementwise
            by_operator[f"{type(call.module).__name__}/{call.operator}"] += call.macs + call.elementwise
            if not call.known:
                uncounted[f"{type(call.module).__name__}/{call.operator}"] += 1
        notes = [
            f"{added} MACs are products outside every module that thop has a rule for (attention, functional calls), "
            "added by the suite's rules"
        ]
        return Count(
            macs=macs + added,
            native=float(native),
            convention="reports MACs by module class, with its own rules for norms and pooling in the same sum",
            elementwise=elementwise,
            by_operator=sorted_counts(by_operator),
            uncounted=sorted_counts(uncounted),
            notes=tuple(notes if added else ()),
            wrong=_counted_again(holder),
        )


class _Holder(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        return self.module(images)


def _counted(module: nn.Module, tree: Mapping[str, Any]) -> list[tuple[nn.Module, float]]:
    """Pairs of module and operations for the leaves of thop's tree."""
    pairs = []
    for name, (operations, _, below) in tree.items():
        child = module.get_submodule(name)
        if below:
            pairs += _counted(child, below)
        elif operations:
            pairs.append((child, operations))
    return pairs


def _counted_again(holder: nn.Module) -> str:
    """What thop counts too often: it hooks a module once for every parent that it has, and adds it up as often."""
    names: dict[nn.Module, list[str]] = {}
    waiting: list[tuple[str, nn.Module]] = [("", holder)]
    while waiting:
        name, module = waiting.pop()
        names.setdefault(module, []).append(name.removeprefix("module."))
        waiting += [(f"{name}.{child}".strip("."), inner) for child, inner in module.named_children()]
    shared = {min(uses): len(uses) for module, uses in names.items() if len(uses) > 1 and isinstance(module, _PRODUCTS)}
    if not shared:
        return ""
    first = min(shared)
    more = f" (and {len(shared) - 1} others likewise)" if len(shared) > 1 else ""
    return (
        "it hooks a shared module once for every place that it has and adds it up once for every place, so that "
        f"{first}, which has {shared[first]}{more}, counts {shared[first] ** 2} times each time it is executed"
    )


def _count_norm(module: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
    """Same rule as in ``counters.base``: 1 operation per element with stored statistics, else 4, or 5 if affine."""
    stored = module.running_mean is not None
    module.total_ops += inputs[0].numel() * (1 if stored else 5 if module.affine else 4)
