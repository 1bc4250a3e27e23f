"""thop's ``profile``: counts by module class, through forward hooks."""

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.counters.base import Count, OperatorCall, counting_conditions, sorted_counts

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
    found = []
    for name, (operations, _, below) in tree.items():
        child = module.get_submodule(name)
        if below:
            found += _counted(child, below)
        elif operations:
            found.append((child, operations))
    return found


def _counted_again(holder: nn.Module) -> str:
    """What thop counts too often: it hooks a module once for every parent that it has, and adds it up as often."""
    names: dict[nn.Module, list[str]] = {}
    waiting: list[tuple[str, nn.Module]] = [("", holder)]
    while waiting:
        name, module = waiting.pop()
        names.setdefault(module, []).append(name.removeprefix("module."))
        waiting += [(f"{name}.{child}".strip("."), inner) for child, inner in module.named_children()]
    shared = {
        min(found): len(found) for module, found in names.items() if len(found) > 1 and isinstance(module, _PRODUCTS)
    }
    if not shared:
        return ""
    first = min(shared)
    more = f" (and {len(shared) - 1} others likewise)" if len(shared) > 1 else ""
    return (
        "it hooks a shared module once for every place that it has and adds it up once for every place, so that "
        f"{first}, which has {shared[first]}{more}, counts {shared[first] ** 2} times each time it is executed"
    )


def _count_norm(module: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
    """Same rule as in ``rules``: 1 operation per element with stored statistics, else 4, or 5 if affine."""
    stored = module.running_mean is not None
    module.total_ops += inputs[0].numel() * (1 if stored else 5 if module.affine else 4)
