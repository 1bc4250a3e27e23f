"""A training step of IDKL at its recipe's batch, beside the released code's: milliseconds and peak memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from device.task import Row, Task, failed, float32_as, ok, out_of_time, skipped
from training.contestants import Size, make_batch, make_run
from training.released import ReleasedStep, find_checkout

from vireid.core.seeding import seed_everything
from vireid.core.types import Batch
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.profiling.memory import PeakMemory

FULL = Size(identities=12, images=10, height=384, width=144, classes=395)  # of recipe=idkl on SYSU-MM01
TOY = Size(identities=4, images=2, height=64, width=32, classes=8)
TURNS, STEPS = 3, 8  # timed turns, after one that is not; steps of a turn, of which the mean is taken
NEEDED = 12.0  # seconds that a contestant may take on a slow device


def measure(task: Task) -> Iterator[Row]:
    """Ours in every precision, then the released code's."""
    size = TOY if task.dry else FULL
    batch = _on_device(make_batch(size), task)
    precisions = ["fp32", "tf32", "bf16", "fp16"] if task.on_gpu else ["fp32"]
    contestants: list[tuple[str, str, Callable[[], Callable[[], list[float]]]]] = [
        (f"ours {precision}", precision, lambda p=precision: _ours(task, size, batch, p)) for precision in precisions
    ]
    checkout = find_checkout(Path(task.released).resolve()) if task.released else None
    if checkout is not None:
        contestants += [
            (f"released {precision}", precision, lambda p=precision: _released(task, size, batch, p, checkout))
            for precision in precisions
            if precision != "bf16"  # which it does not know
        ]
    for name, precision, build in contestants:
        if task.left < (1 if task.dry else NEEDED):
            yield out_of_time(name, NEEDED, task.left)
            continue
        try:
            yield _measured(name, precision, build, task, size)
        except Exception as error:  # the next contestant can do without it
            # what keeps other people's code from running is no fault of this suite
            yield skipped(name, f"{type(error).__name__}: {error}") if "released" in name else failed(name, error)
        gc.collect()
        task.release_memory()
    if checkout is None:
        reason = f"{task.released} holds no models/baseline.py" if task.released else "no --released PATH was given"
        yield skipped("released", f"{reason}: give a checkout of 1KK077/IDKL")


def _measured(name: str, precision: str, build: Callable[[], Callable[[], list[float]]], task: Task, size: Size) -> Row:
    with float32_as(precision):
        turn = build()
        turn()
        turns = []
        with PeakMemory(task.target) as memory:
            for _ in range(TURNS):
                turns.append(turn())
                if task.left < 0:
                    break
    milliseconds = [1e3 * sum(turn) / len(turn) for turn in turns]
    return ok(
        name,
        milliseconds=milliseconds,
        step_seconds=turns,
        peak_bytes=memory.peak_bytes,
        memory=memory.method,
        images=size.identities * size.images,
        height=size.height,
        width=size.width,
    )


def _ours(task: Task, size: Size, batch: Batch, precision: str) -> Callable[[], list[float]]:
    """The product's loop. Its samples add up to the epoch, queue of the device included, so that their mean is true."""
    seed_everything("benchmark")
    config = IDKLConfig(backbone="resnet18", width=0.125) if task.dry else IDKLConfig()
    steps = 2 if task.dry else STEPS
    run = make_run(
        IDKL(config, size.classes),
        [batch] * steps,
        size,
        "fp32" if precision == "tf32" else precision,  # a precision of products, not one that the recipe knows
        epochs=1000,
        device=task.target,
    )

    def turn() -> list[float]:
        run.epoch(None, None, None, None)
        return run.measured.step_seconds[-steps:]

    return turn


def _released(task: Task, size: Size, batch: Batch, precision: str, checkout: Path) -> Callable[[], list[float]]:
    seed_everything("benchmark")
    step = ReleasedStep(checkout, size.classes, task.target, half=precision == "fp16")
    images, labels, infrared = batch.images, batch.labels, batch.infrared

    def turn() -> list[float]:
        seconds = []
        for _ in range(2 if task.dry else STEPS):
            started = time.perf_counter()
            step(images, labels, infrared)
            task.synchronise()
            seconds.append(time.perf_counter() - started)
        return seconds

    return turn


def _on_device(batch: Batch, task: Task) -> Batch:
    """Images lie there before a step begins: what is timed is the step, not the way to the device."""
    moved = {name: getattr(batch, name).to(task.target) for name in ("images", "labels", "modality", "camera", "view")}
    return replace(batch, **moved)
