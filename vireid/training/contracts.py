"""What the loop takes and gives: loader, weighting, callbacks, result. Who fulfils them is not imported."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vireid.core.types import Batch, Model


class TrainingLoader(Protocol):
    """A source of training batches whose position is two integers: (epoch, step)."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in every epoch."""
        ...

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Batches ``first_step``… of ``epoch``, a function of these two numbers only."""
        ...


class Weighting(Protocol):
    """An ``nn.Module`` that makes one loss of named terms; what it learns lies in parameters and buffers."""

    def begin(self, model: Model, scale_loss: Callable[[Tensor], Tensor]) -> None:
        """Before training: the model whose terms will come, on its device, and what loss scaling makes of a loss."""
        ...

    def __call__(self, terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted total (scalar) and the weight that each term got (detached scalars)."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """As ``Model.parameter_groups``; ``weight_decay`` in a group overrides the recipe's."""
        ...

    def begin_epoch(self, epoch: int) -> None:
        """Before the first batch of ``epoch``, counted from 0."""
        ...

    def end_step(self) -> None:
        """After every optimiser step that was not skipped."""
        ...

    def end_epoch(self, mean_terms: Mapping[str, float]) -> None:
        """Learn from the epoch's mean unweighted terms."""
        ...

    def at_bound(self) -> list[str]:
        """Terms whose learned weight stands at a limit of the weighting, and so is not what learning would make it."""
        ...


class PeakReading(Protocol):
    """What a memory probe gives: the peak in bytes, readable after its block has ended."""

    @property
    def peak_bytes(self) -> int | None:
        """Highest memory in use during the block."""
        ...


ProgressCallback = Callable[[int, int, int, int, float], None]  # epoch, epochs, step, steps (from 1), loss
EpochCallback = Callable[[dict[str, Any]], None]  # the epoch's curve entry
EvaluateCallback = Callable[[nn.Module, float], Mapping[str, float]]  # model in evaluation mode, scale → dev metrics
PeakMemory = Callable[[], AbstractContextManager[PeakReading]]


@dataclass(frozen=True, slots=True)
class FitResult:
    """A finished training run.

    ``curves`` has one entry per epoch: ``epoch`` (from 1), ``stage``, ``lr`` (at the epoch's end, before any group's
    ``lr_scale``), ``loss`` (mean weighted total), ``terms`` (means, unweighted), ``weights`` (means), ``grad_norm``
    (mean before clipping), ``images_per_second``, ``seconds``, ``data_seconds`` (spent waiting for batches), ``scale``
    where the stage trains at a share of the resolution, ``at_bound`` (terms whose learned weight stands at a limit
    at the epoch's end), and ``dev`` where an evaluation was asked for.
    """

    curves: list[dict[str, Any]]
    step_seconds: list[float]  # wall clock between optimiser steps, raw; on accelerators the queue keeps the mean true
    seconds: float  # of all epochs, over interruptions
    peak_memory_bytes: int | None
    device: str  # "cpu" or the accelerator's name
    weights: Path  # model.safetensors
    resumed_from: int | None  # epochs that an earlier, interrupted call had finished
