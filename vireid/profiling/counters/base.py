"""What every counter returns, the contract it fulfils."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from vireid.core.config import Component
from vireid.profiling.counters.execution import OperatorCall

MAC_CONVENTION = "1 MAC = 1 multiply + 1 add; convolution, linear and matrix products (attention included)"


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
