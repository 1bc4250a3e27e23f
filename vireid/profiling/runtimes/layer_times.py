"""The contract of runtimes that tell how long each layer takes, and what their answers share.

Layers are named by the module whose forward they are part of, as the deployed PyTorch module names it. A fused kernel
(convolution, addition, activation) is one layer, named by the convolution or linear layer in it.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from vireid.core.errors import UserError

Repeat = Callable[[Callable[[], object]], Sequence[float]]
"""Warms a call up and times it: seconds, one per call, warm-up left out."""


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer of a forward of the whole batch."""

    module: str  # path; empty for the outermost module's own operators
    seconds: float
    bytes: int | None = None  # weights, inputs and outputs as the runtime holds them; None where it does not tell


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Layers in order of execution; what they leave of ``profiled`` belongs to no module."""

    layers: list[LayerTime]
    profiled: float  # seconds of a forward with the profile, over which the layers' times were taken
    plain: float  # seconds of a forward without it, as ``typical``
    method: str  # in words


@runtime_checkable
class TellsLayers(Protocol):
    """A runtime that knows how long each of its layers takes."""

    def layer_times(self, module: nn.Module, example: Tensor, repeat: Repeat) -> LayerTimes:
        """Time the layers of ``module`` (which stays as it is) on ``example`` (B×3×H×W), with PyTorch's threads.

        Raises:
            LayersUntoldError: not in this setting, or on this device.
        """
        ...


class LayersUntoldError(UserError):
    """A runtime that could tell of its layers elsewhere, but not here; the message says why."""


def summed(layers: Iterable[LayerTime]) -> list[LayerTime]:
    """One layer per module, in order of first appearance; bytes are None where one part's are."""
    together: dict[str, LayerTime] = {}
    for layer in layers:
        before = together.get(layer.module)
        if before is not None:
            known = None if before.bytes is None or layer.bytes is None else before.bytes + layer.bytes
            layer = LayerTime(layer.module, before.seconds + layer.seconds, known)
        together[layer.module] = layer
    return list(together.values())


def calm(forwards: Sequence[float]) -> list[int]:
    """Positions of the faster half of some forwards, by their seconds: those that other work held up least.

    Layers and the whole are means over the same forwards, so that they add up; medians would not.
    """
    order = sorted(range(len(forwards)), key=lambda position: forwards[position])
    return order[: (len(order) + 1) // 2]


def mean(seconds: Sequence[float], forwards: Sequence[int]) -> float:
    """Mean of samples, seconds, over the forwards at these positions."""
    return statistics.fmean(seconds[position] for position in forwards)


def typical(seconds: Sequence[float]) -> float:
    """Mean over the faster half of samples, seconds."""
    return mean(seconds, calm(seconds))
