"""Latency: raw samples of forwards, and of each stage of a chain of work, in this process or in one of their own."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.float32 import exact_float32
from vireid.profiling import RUNTIMES, sensors
from vireid.profiling.artefact_memory import memory_of_file
from vireid.profiling.complexity import example_images
from vireid.profiling.config import LatencyBudget, ProfileConfig
from vireid.profiling.deployed_file import StoresFiles, bytes_on_disk, load_module, save_module
from vireid.profiling.device import affinity, available_cores, peak_bandwidth, peak_gflops, thread_limit
from vireid.profiling.isolation import Limit, run_isolated
from vireid.profiling.memory import inference_memory, peak_resident_bytes
from vireid.profiling.runtimes.base import Session, unavailable
from vireid.profiling.sampling import LatencySamples, busy_seconds, sample
from vireid.profiling.sensors.reading import machine_notes


def latency(
    deployable: nn.Module,
    height: int,
    width: int,
    config: ProfileConfig,
    *,
    artefact: str,
    device: torch.device | str = "cpu",
    emulate: bool = False,
) -> Iterator[dict[str, Any]]:
    """Measure ``deployable`` in every runtime, thread count and batch size of ``config``, one result after another.

    Args:
        deployable: images (B×3×H×W) → embedding (B×D).
        height: pixels.
        width: pixels.
        config: what to measure.
        artefact: digest of the deployed graph, as ``cost`` gives it.
        device: where to run.
        emulate: measure precisions too that the processor has no instructions for.

    Yields:
        The measured fields of a ``LatencyRecord``, per combination: ``status`` ("ok"; "skipped" where the runtime is
        not available or the limit cannot be applied; "failed"), ``reason``, ``artefact``, ``runtime`` (its
        configuration and version), ``precision``, ``batch``, ``resolution``, ``threads``, ``notes``, and what
        ``measure_forward`` or ``measure_isolated`` measured.
    """
    for runtime_config in config.runtimes:
        for threads in config.thread_counts(available_cores()):
            for batch in config.batches:
                update = {"runtimes": [runtime_config], "threads": [threads], "batches": [batch]}
                yield {
                    "artefact": artefact,
                    "batch": batch,
                    "resolution": [height, width],
                    "threads": threads,
                    **_one(deployable, height, width, config.model_copy(update=update), device, emulate),
                }


def _one(
    deployable: nn.Module, height: int, width: int, single: ProfileConfig, device: torch.device | str, emulate: bool
) -> dict[str, Any]:
    def measured(runtime: Any) -> dict[str, Any]:
        if single.isolated:
            return measure_isolated(deployable, height, width, single, device)
        images = example_images(single.batches[0], height, width, device)
        with exact_float32(images.device):
            session = runtime.prepare(deployable, images)
            return {"affinity": affinity(), **measure_forward(session, lambda: deployable, images, single)}

    return attempt(single, device, emulate, measured)


def attempt(
    single: ProfileConfig, device: torch.device | str, emulate: bool, measure: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """What ``measure`` measures with the runtime of a profile of one combination, with ``status`` and ``reason``.

    "Skipped" where the runtime cannot run here, "failed" where measuring raised: the other combinations still run.
    """
    (runtime_config,) = single.runtimes
    runtime = RUNTIMES.load(runtime_config.name)(runtime_config)
    result: dict[str, Any] = {
        "runtime": {**runtime_config.model_dump(mode="json"), "version": runtime.version},
        "precision": runtime.precision,
        "seconds": [],
        "notes": [],
    }
    reason = unavailable(runtime, torch.device(device).type, emulate=emulate)
    if reason is not None:
        return {**result, "status": "skipped", "reason": reason}
    try:
        return {**result, "status": "ok", "reason": None, **measure(runtime)}
    except Exception as error:  # whatever fails in there is the result
        return {**result, "status": "failed", "reason": f"{type(error).__name__}: {error}"}


TASK = "vireid.profiling.latency:measure_file"


def measure_isolated(
    module: nn.Module, height: int, width: int, single: ProfileConfig, device: torch.device | str
) -> dict[str, Any]:
    """Measure ``module`` in a process of its own; ``single`` has one runtime, thread count and batch size.

    Returns and raises as ``run_in_child``; if measured, with the fields of ``measure_forward`` and ``load_seconds``.
    """
    return run_in_child(TASK, module, height, width, single, device)


def run_in_child(
    task: str,
    module: nn.Module,
    height: int,
    width: int,
    single: ProfileConfig,
    device: torch.device | str,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the artefact and carry out a task on it in a fresh process.

    Args:
        task: ``module:function``; called with ``pickled`` and ``stored`` (files), ``profile``, ``height``, ``width``,
            ``device`` and what ``more`` has; returns fields of a ``LatencyRecord``.
        module: what is deployed.
        height: pixels.
        width: pixels.
        single: a profile of one runtime, thread count and batch size.
        device: where to run.
        more: further arguments, fit for JSON.

    Returns:
        ``status`` and ``reason``, ``affinity``, ``limit``, ``size_bytes``, and what the task returned.

    Raises:
        UserError: the module cannot be pickled.
    """
    (runtime_config,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    runtime = RUNTIMES.load(runtime_config.name)(runtime_config)
    with tempfile.TemporaryDirectory(prefix="vireid-artefact-") as name:
        pickled = Path(name) / "module.pt"
        save_module(module, pickled)
        stored = pickled
        if isinstance(runtime, StoresFiles):
            (Path(name) / "stored").mkdir()
            stored = runtime.store(module, example_images(batch, height, width, device), Path(name) / "stored")
        answer = run_isolated(
            task,
            {
                "pickled": str(pickled),
                "stored": str(stored),
                "profile": single.model_dump(mode="json"),
                "height": height,
                "width": width,
                "device": str(device),
                **(more or {}),
            },
            threads=threads,
            limit=None if single.limit is None else Limit.parse(single.limit),
            timeout_seconds=single.timeout_seconds + (single.sustained_seconds or 0.0),
        )
        size = bytes_on_disk(stored)
        memory: dict[str, Any] = {}
        unmeasured: list[str] = []
        if single.memory and answer.status == "ok" and torch.device(device).type == "cpu":
            memory, unmeasured = memory_of_file(stored, height, width, single, Path(name))
    return {
        "status": answer.status,
        "reason": answer.reason,
        "isolated": True,
        "affinity": answer.affinity,
        "limit": answer.limit,
        "size_bytes": size,
        **answer.result,
        **memory,
        "notes": [*answer.notes, *answer.result.get("notes", []), *unmeasured],
    }


def measure_file(
    pickled: str, stored: str, profile: Mapping[str, Any], height: int, width: int, device: str
) -> dict[str, Any]:
    """The task of the isolated process: from a file to its first answer, then as ``measure_forward``."""
    single = parse(ProfileConfig, profile, "profile")
    (runtime_config,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    runtime = RUNTIMES.load(runtime_config.name)(runtime_config)
    images = example_images(batch, height, width, device)
    with exact_float32(images.device):
        with thread_limit(threads):
            begin = time.perf_counter()
            if isinstance(runtime, StoresFiles):
                session = runtime.load(Path(stored), images)
            else:
                session = runtime.prepare(load_module(Path(stored), device), images)
            session(images)
            loaded = time.perf_counter() - begin
        measured = measure_forward(session, lambda: load_module(Path(pickled), device), images, single)
    return {**measured, "load_seconds": loaded}


def measure_forward(
    session: Session, module: Callable[[], nn.Module], images: Tensor, single: ProfileConfig
) -> dict[str, Any]:
    """Time a session and read the machine beside it: the measured fields of a ``LatencyRecord``.

    ``rss_bytes`` (highest resident memory of the whole process so far) is given only where ``single`` isolates, and
    read before ``module`` is asked for, whose weights ``peak_memory_bytes`` counts on an accelerator. In main memory it
    is left to ``run_in_child``.
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
    if single.memory and images.device.type != "cpu":  # of main memory a process of its own tells
        with thread_limit(threads):
            memory = inference_memory(session, module(), images)
    peaks, unmeasured = roofs(single, images) if single.peaks else ({}, [])
    handled = len(samples.seconds) * samples.batch
    return {
        "warmup": samples.warmup,
        "seconds": samples.seconds,
        "windows": samples.windows,
        "peaks": peaks,
        "notes": [*samples.notes, *machine_notes(before, after), *unmeasured],
        "peak_memory_bytes": None if memory is None else memory["peak_bytes"],
        "memory_by": None if memory is None else f"weights and what a forward adds ({memory['method']})",
        "rss_bytes": resident,
        "joules_per_image": None if meter.joules is None else meter.joules / handled,
        "sensors": {
            "before": before,
            "after": {name: reading for name, reading in after.items() if reading["value"] is not None},
            "energy_by": meter.method or meter.reason,
        },
    }


def roofs(single: ProfileConfig, images: Tensor) -> tuple[dict[str, Any], list[str]]:
    """The machine's roofs at the profile's threads, in the runtime's arithmetic, or why they were not measured."""
    (threads,), (runtime,) = single.threads or [1], single.runtimes
    if images.device.type != "cpu":
        return {}, [f"roofs not measured: the network ran on {images.device}, and they are the processor's"]
    if single.limit is not None and Limit.parse(single.limit).memory_bytes is not None:
        return {}, [f"roofs not measured: arrays larger than every cache may not fit into '{single.limit}'"]
    dtype = torch.bfloat16 if getattr(runtime, "precision", "fp32") == "bf16" else torch.float32
    return {"gflops": asdict(peak_gflops(threads, dtype=dtype)), "bandwidth": asdict(peak_bandwidth(threads))}, []


def measure(
    session: Session,
    images: Tensor,
    *,
    threads: int,
    budget: LatencyBudget,
    sustained_seconds: float | None = None,
    watch: Callable[[], dict[str, Any]] | None = None,
    during: AbstractContextManager[object] | None = None,
) -> LatencySamples:
    """Time ``session`` on ``images`` (B×3×H×W) with ``threads`` threads; see ``sampling.sample``."""
    with thread_limit(threads):
        return sample(
            lambda: session(images),
            batch=len(images),
            budget=budget,
            cores=available_cores(),
            sustained_seconds=sustained_seconds,
            watch=watch,
            busy=_busy_seconds,
            during=during,
        )


def _busy_seconds() -> float | None:
    """As ``sampling.busy_seconds``, on systems without ``/proc`` as well."""
    if psutil.LINUX:
        return busy_seconds()
    times, process = psutil.cpu_times(), psutil.Process().cpu_times()
    return float(sum(times) - times.idle - process.user - process.system)


Mark = Callable[[str], None]  # called with a stage's name when it is over
Chain = Callable[[Mark], None]


class StageTimer:
    """Runs a chain as a call without arguments and keeps when its stages were over."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._rows: list[dict[str, float]] = []

    def __call__(self) -> None:
        """Run the chain once. A stage that is marked more than once counts with the sum of its parts."""
        row: dict[str, float] = {}
        before = time.perf_counter_ns()

        def mark(name: str) -> None:
            nonlocal before
            now = time.perf_counter_ns()
            row[name] = row.get(name, 0.0) + (now - before) / 1e9
            before = now

        self._chain(mark)
        self._rows.append(row)

    def stages(self, first: int, count: int) -> dict[str, list[float]]:
        """Seconds of each stage, in order, of ``count`` repetitions from the ``first`` on (from 0)."""
        rows = self._rows[first : first + count]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return {name: [row.get(name, 0.0) for row in rows] for name in names}


def measure_chain(
    chain: Chain, module: Callable[[], nn.Module], example: Tensor, single: ProfileConfig
) -> dict[str, Any]:
    """As ``measure_forward``, of the whole chain, with ``stages``: as many samples of each as ``seconds`` has.

    Args:
        chain: one query; its work is done when it returns.
        module: gives the network, whose weights count as memory.
        example: one image as the network takes it (1×3×H×W).
        single: a profile of one combination.
    """
    timer = StageTimer(chain)
    measured = measure_forward(lambda _: timer(), module, example, single)
    return {**measured, "stages": timer.stages(measured["warmup"], len(measured["seconds"]))}
