"""Timing a session and reading the machine beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from vireid.profiling import sensors
from vireid.profiling.config import ProfileConfig
from vireid.profiling.latency import measure, thread_limit
from vireid.profiling.limits import Limit
from vireid.profiling.memory import inference_memory, peak_resident_bytes
from vireid.profiling.peaks import peak_bandwidth, peak_gflops
from vireid.profiling.runtimes.base import Session
from vireid.profiling.sensors.remarks import machine_notes


def measure_forward(
    session: Session, module: Callable[[], nn.Module], images: Tensor, single: ProfileConfig
) -> dict[str, Any]:
    """Time a session and read the machine beside it: the measured fields of a ``LatencyRecord``.

    ``rss_bytes`` (highest resident memory of the whole process so far) is given only where ``single`` isolates, and
    read before ``module`` is asked for, whose weights ``peak_memory_bytes`` counts.
    """
    (threads,) = single.threads or [1]
    before = sensors.describe()
    meter = sensors.EnergyMeter()
    samples = measure(
        session,
        images,
        threads=threads,
        budget=single.budget,
        sustained_seconds=single.sustained_seconds,
        watch=sensors.watch,
        during=meter,
    )
    after = sensors.describe()
    resident = peak_resident_bytes() if single.isolated else None
    memory = None
    if single.memory:
        with thread_limit(threads):
            memory = inference_memory(session, module(), images)
    roofs, unmeasured = _roofs(single, images) if single.peaks else ({}, [])
    handled = len(samples.seconds) * samples.batch
    return {
        "warmup": samples.warmup,
        "seconds": samples.seconds,
        "windows": samples.windows,
        "peaks": roofs,
        "notes": [*samples.notes, *machine_notes(before, after), *unmeasured],
        "peak_memory_bytes": None if memory is None else memory["peak_bytes"],
        "rss_bytes": resident,
        "joules_per_image": None if meter.joules is None else meter.joules / handled,
        "sensors": {
            "before": before,
            "after": {name: reading for name, reading in after.items() if reading["value"] is not None},
            "energy_by": meter.method or meter.reason,
        },
    }


def _roofs(single: ProfileConfig, images: Tensor) -> tuple[dict[str, Any], list[str]]:
    """The machine's roofs at the profile's threads, in the runtime's arithmetic, or why they were not measured."""
    (threads,), (runtime,) = single.threads or [1], single.runtimes
    if images.device.type != "cpu":
        return {}, [f"roofs not measured: the network ran on {images.device}, and they are the processor's"]
    if single.limit is not None and Limit.parse(single.limit).memory_bytes is not None:
        return {}, [f"roofs not measured: arrays larger than every cache may not fit into '{single.limit}'"]
    dtype = torch.bfloat16 if getattr(runtime, "precision", "fp32") == "bf16" else torch.float32
    return {"gflops": asdict(peak_gflops(threads, dtype=dtype)), "bandwidth": asdict(peak_bandwidth(threads))}, []
