"""Training steps that take turns: the released IDKL code, ours, and two bare branches as a lower limit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from training.released import LEARNING_RATE, WEIGHT_DECAY, ReleasedStep

from vireid.core.config import parse
from vireid.core.seeding import seed_everything
from vireid.core.types import Batch, Modality
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.resnet import Branch, Stem
from vireid.profiling.memory import PeakMemory
from vireid.training.allocator import keep_freed_memory
from vireid.training.checkpoint import Checkpoint
from vireid.training.config import RecipeConfig
from vireid.training.run import Run
from vireid.weighting.config import FixedConfig
from vireid.weighting.fixed import FixedWeighting

CPU = torch.device("cpu")
# Steps before the timed one. The released code's memory is in the same state at every step; the others give theirs back
# after a turn, so that contestants do not crowd each other out, and have it settled again after two steps.
WARM_UP = 2


@dataclass(frozen=True)
class Size:
    """Of the batch: P identities × K images of height × width pixels; number of classes."""

    identities: int
    images: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class Turn:
    """One timed step."""

    seconds: float
    peak_bytes: int  # resident memory of the process
    loss: float


def make_batch(size: Size, key: int = 0) -> Batch:
    """Random images in the order of the sampler: identity by identity, infrared and visible alternating."""
    count = size.identities * size.images
    generator = torch.Generator().manual_seed(key)
    zeros = torch.zeros(count, dtype=torch.long)
    return Batch(
        images=torch.randn(count, 3, size.height, size.width, generator=generator),
        labels=torch.arange(size.identities).repeat_interleave(size.images),
        modality=torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)]).repeat(count // 2),
        camera=zeros,
        view=zeros,
    )


class Released:
    """The released code in float32."""

    def __init__(self, size: Size, checkout: Path) -> None:
        seed_everything("benchmark")
        self._step = ReleasedStep(checkout, size.classes)
        self._batch = make_batch(size)
        self._once()

    def _once(self) -> float:
        return self._step(self._batch.images, self._batch.labels, self._batch.infrared)

    def turn(self) -> Turn:
        """One timed step."""
        return _timed(self._once)


class Ours:
    """The product's path: ``vireid.training.run.Run``, optimiser included, channels_last."""

    def __init__(self, size: Size, precision: str) -> None:
        seed_everything("benchmark")
        batch = make_batch(size)
        self._run = make_run(IDKL(IDKLConfig(), size.classes), [batch] * (WARM_UP + 1), size, precision, epochs=1000)

    def turn(self) -> Turn:
        """Warm up, time one step by the product's own clock."""
        memory = PeakMemory()
        with keep_freed_memory(CPU):
            self._run.epoch(None, None, None, memory)
        measured = self._run.measured
        return Turn(measured.step_seconds[-1], memory.peak_bytes, measured.curves[-1]["loss"])


class Bare:
    """Forward and backward of a ResNet-50 whose layers 3 and 4 exist twice; no heads, no losses, no optimiser."""

    def __init__(self, size: Size, precision: str) -> None:
        seed_everything("benchmark")
        spec = IDKLConfig().trunk
        self._stem, self._branches = Stem(spec), nn.ModuleList([Branch(spec), Branch(spec)])
        self._images = make_batch(size).images.contiguous(memory_format=torch.channels_last)
        for part in (self._stem, self._branches):
            part.to(memory_format=torch.channels_last)
        self._autocast: Callable[[], Any] = nullcontext
        if precision == "bf16":
            self._autocast = lambda: torch.autocast("cpu", torch.bfloat16)

    def _once(self) -> float:
        with self._autocast():
            common = self._stem(self._images)
            total = torch.stack([branch(common).float().mean() for branch in self._branches]).sum()
        total.backward()
        for parameter in (*self._stem.parameters(), *self._branches.parameters()):
            parameter.grad = None
        return float(total.detach())

    def turn(self) -> Turn:
        """Warm up, time one pass."""
        with keep_freed_memory(CPU):
            for _ in range(WARM_UP):
                self._once()
            return _timed(self._once)


def make_run(
    model: IDKL,
    batches: Sequence[Batch],
    size: Size,
    precision: str,
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device = CPU,
    **options: Any,
) -> Run:
    """A fit whose every epoch shows ``batches``, with the optimiser of the release; writes no checkpoint."""
    recipe = {
        "batch_size": size.identities * size.images,
        "identities": size.identities,
        "epochs": epochs,
        "optimiser": {"name": "adam", "lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY},
        "precision": precision,
        "channels_last": True,
        **options,
    }
    return Run(
        model,
        _Repeated(batches),
        parse(RecipeConfig, recipe, "benchmark"),
        FixedWeighting(FixedConfig(), model.default_weights()),
        seed,
        _NoCheckpoint(Path(tempfile.gettempdir()) / "vireid-benchmark", "benchmark"),
        device,
    )


def build(name: str, size: Size, checkout: Path | None) -> Released | Ours | Bare:
    """Contestant by name: ``released``, or ``ours`` or ``bare`` with a precision (``ours bf16``)."""
    kind, _, precision = name.partition(" ")
    if kind == "released":
        if checkout is None:
            raise ValueError("the released code needs a checkout")
        return Released(size, checkout)
    return Ours(size, precision) if kind == "ours" else Bare(size, precision)


class _Repeated:
    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self.steps_per_epoch = len(batches)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:  # noqa: ARG002 - every epoch is the same
        yield from self._batches[first_step:]


class _NoCheckpoint(Checkpoint):
    def save(self, *_: Any) -> None:
        """Timing needs none."""


def _timed(step: Callable[[], float]) -> Turn:
    with PeakMemory() as memory:
        started = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - started
    return Turn(seconds, memory.peak_bytes, loss)
