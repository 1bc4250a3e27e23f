"""A fit of full size through the suite's own steps, with as many optimiser steps as the seconds left allow."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from device.task import Row, Task, ok, out_of_time

from vireid.config import ExperimentConfig
from vireid.core.records import EvaluationRecord
from vireid.experiment.context import RunContext
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.overrides import compose
from vireid.store import Store

FULL = (
    "data=sysu_people",
    "model=idkl_scratch",
    "recipe=quick",
    "recipe.precision=bf16",
    "recipe.identities=32",
    "recipe.optimiser.lr=1.5e-3",
    "augmentation=full",
)
TOY = (
    "data=sysu_quick",
    "data.synthetic.train_ids=6",
    "data.synthetic.val_ids=5",
    "data.synthetic.test_ids=4",
    "data.synthetic.visible_per_camera=2",
    "data.synthetic.infrared_per_camera=3",
    "data.synthetic.height=64",
    "data.synthetic.width=32",
    "data.height=64",
    "data.width=32",
    "model=idkl_small",
    "model.width=0.125",
    "recipe=smoke",
    "runtime.workers=1",
)
PROTOCOL = "evaluation.protocols=[{name: sysu/official, mode: all, shots: 1}]"
EPOCHS = 4  # each ends with a checkpoint and an evaluation on dev
CALIBRATION = 24  # steps of a fit that is thrown away; the later half is timed
SHARE = 0.9  # of the time left for steps: a device that grows warm slows down


def measure(task: Task) -> Iterator[Row]:
    """Render, calibrate, fit, evaluate on dev; the records of fit and evaluation are copied to the task's folder."""
    with tempfile.TemporaryDirectory(prefix="vireid-accelerator-") as folder:
        store = Store(Path(folder))
        store.prepare()
        yield _rendered(task, store)
        row, step_seconds, overhead, evaluation = _calibrated(task, store)
        yield row
        # every epoch takes at most what surrounds the steps of the fit of one epoch, and there is one evaluation more
        left = SHARE * task.left - EPOCHS * (overhead / 2 + evaluation) - overhead - evaluation
        steps = 2 if task.dry else int(left / step_seconds / EPOCHS)
        if steps < 2:
            yield out_of_time("fit", (2 * EPOCHS * step_seconds + EPOCHS * (overhead + evaluation)) / SHARE, task.left)
            return
        yield _fitted(task, store, steps)


def _config(task: Task, epochs: int, steps: int, every: int) -> ExperimentConfig:
    chosen = TOY if task.dry else FULL
    lengths = (f"recipe.epochs={epochs}", f"recipe.steps_per_epoch={steps}", f"recipe.evaluate_every={every}")
    # warm-up of two epochs is half of such a fit
    warm_up = () if task.dry else (f"recipe.schedule.warmup_epochs={min(0.2, epochs / 10)}",)
    fixed = (PROTOCOL, f"runtime.device={task.device}")
    return compose([*chosen, *lengths, *warm_up, *fixed, *task.overrides], "accelerator")


def _rendered(task: Task, store: Store) -> Row:
    started = time.perf_counter()
    data = RunContext(_config(task, 1, 2, 1), store).data
    seconds = time.perf_counter() - started
    return ok("images", seconds=seconds, training_images=len(data.train), evaluation_images=len(data.evaluation))


def _calibrated(task: Task, store: Store) -> tuple[Row, float, float, float]:
    """Seconds of a step with its loader, of all that surrounds the steps of a fit, and of an evaluation on dev."""
    run = RunContext(_config(task, 1, 2 if task.dry else CALIBRATION, 1), store)
    started = time.perf_counter()
    fit = fit_step(run)
    fitted = time.perf_counter()
    evaluate_step(run)
    evaluation = time.perf_counter() - fitted
    late = fit.step_seconds[len(fit.step_seconds) // 2 :]
    step = max(statistics.median(late), statistics.mean(late))  # the last sample holds the device's queue
    overhead = max(0.0, fitted - started - evaluation - len(fit.step_seconds) * step)
    row = ok("calibration", step_seconds=step, overhead_seconds=overhead, evaluation_seconds=evaluation)
    shutil.rmtree(run.directory, ignore_errors=True)
    return row, step, overhead, evaluation


def _fitted(task: Task, store: Store, steps: int) -> Row:
    config = _config(task, EPOCHS, steps, 1)
    run = RunContext(config, store)
    started = time.perf_counter()
    fit = fit_step(run)
    fitted = time.perf_counter()
    (evaluation,) = evaluate_step(run)
    ended = time.perf_counter()
    files = _copied(store, task.folder, fit.id, evaluation)
    return ok(
        "fit",
        id=fit.id,
        evaluation=evaluation.id,
        steps=EPOCHS * steps,
        batch=config.recipe.batch_size,
        precision=config.recipe.precision,
        fit_seconds=fitted - started,
        evaluation_seconds=ended - fitted,
        median_step_milliseconds=1e3 * statistics.median(fit.step_seconds),
        waiting_share=sum(entry["data_seconds"] for entry in fit.curves) / (fit.seconds or 1),
        peak_bytes=fit.peak_memory_bytes,
        dev=[entry["dev"]["mAP"] for entry in fit.curves],
        loss=[entry["loss"] for entry in fit.curves],
        metrics=evaluation.metrics,
        accelerator=fit.environment.accelerator,
        files=files,
    )


def _copied(store: Store, to: Path, fit: str, evaluation: EvaluationRecord) -> list[str]:
    """The records and the per-query table, in the store's own layout; weights stay behind."""
    files = [
        f"{fit}.json",
        f"{evaluation.id}.json",
        *([evaluation.per_query_file] if evaluation.per_query_file else []),
    ]
    for file in files:
        target = to / "runs" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.runs / file, target)
    return [f"runs/{file}" for file in files]
