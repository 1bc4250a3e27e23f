"""The deployed graph of IDKL, eager and compiled: latency of one image and throughput of 64, images on the device."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import torch
from device.task import Row, Task, failed, float32_as, ok, out_of_time, skipped
from torch import Tensor, nn

from vireid.core.seeding import seed_everything
from vireid.core.types import Modality
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.profiling import RUNTIMES
from vireid.profiling.export.formats import check_images, difference

# Runtime, its precision, that of float32 products. Compiled ones last: compiling takes most of the time.
CONTESTANTS = (
    ({"name": "eager"}, "fp32"),
    ({"name": "eager"}, "tf32"),
    ({"name": "eager", "precision": "bf16"}, "bf16"),
    ({"name": "channels_last"}, "fp32"),
    ({"name": "channels_last", "precision": "bf16"}, "bf16"),
    ({"name": "compile", "precision": "bf16"}, "bf16"),
    ({"name": "compile"}, "fp32"),
    ({"name": "compile"}, "tf32"),
)
BATCHES = (1, 64)
WARM_UP, CALLS, SECONDS = 5, 50, 2.0  # calls that are not timed; timed ones at most, and for how long at most
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "bf16": 2e-1}  # of features, relative to their root mean square


def measure(task: Task) -> Iterator[Row]:
    """Every contestant at both batch sizes."""
    seed_everything("benchmark")
    config = IDKLConfig(backbone="resnet18", width=0.125) if task.dry else IDKLConfig()
    module = IDKL(config, 395).deployable(Modality.VISIBLE).eval()
    height, width = (64, 32) if task.dry else (384, 144)
    for batch in (1, 4) if task.dry else BATCHES:
        images = check_images(batch, height, width).to(task.target)
        reference: Tensor | None = None
        for settings, precision in _contestants(task):
            name = f"{settings['name']} {precision}, batch {batch}"
            needed = (1.0 if task.dry else 4.0) if settings["name"] != "compile" else (40.0 if task.dry else 30.0)
            if task.left < needed:
                yield out_of_time(name, needed, task.left)
                continue
            try:
                with float32_as(precision):
                    row, features = _measured(name, settings, module, images)
            except Exception as error:  # the next runtime can do without it
                yield failed(name, error)
                continue
            if features is not None:
                reference = features if reference is None else reference
                row["feature_error"] = difference(features, reference)
                if not row["feature_error"] <= TOLERANCE[precision]:
                    row |= {
                        "status": "failed",
                        "reason": f"features differ from eager fp32 by {row['feature_error']:.1e}",
                    }
            yield row
            gc.collect()
            task.release_memory()


def _contestants(task: Task) -> Iterator[tuple[dict[str, Any], str]]:
    for settings, precision in CONTESTANTS:
        if precision == "fp32" or task.on_gpu:
            yield settings, precision


def _measured(name: str, settings: dict[str, Any], module: nn.Module, images: Tensor) -> tuple[Row, Tensor | None]:
    component = RUNTIMES.load(settings["name"])
    runtime = component(component.Config(**settings))
    reason = runtime.available()
    if reason is not None:
        return skipped(name, reason), None
    started = time.perf_counter()
    session = runtime.prepare(module.to(images.device), images)
    features = session(images)
    prepared = time.perf_counter() - started
    for _ in range(WARM_UP):
        session(images)
    seconds: list[float] = []
    while len(seconds) < CALLS and sum(seconds) < SECONDS:
        begin = time.perf_counter_ns()
        session(images)  # returns when the device has finished
        seconds.append((time.perf_counter_ns() - begin) / 1e9)
    row = ok(
        name,
        runtime=settings,
        precision=runtime.precision,
        float32_products="tf32" if torch.backends.cuda.matmul.allow_tf32 else "fp32",
        batch=len(images),
        milliseconds=[1e3 * value for value in seconds],
        images_per_second=len(images) * len(seconds) / sum(seconds),
        prepare_seconds=prepared,
    )
    return row, features.float().cpu()
