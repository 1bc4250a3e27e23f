"""PyTorch's own counter, ``torch.utils.flop_counter.FlopCounterMode``: counts what is executed."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vireid.core.config import Component
from vireid.profiling.counters.base import (
    MAC_RULES,
    Count,
    OperatorCall,
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
