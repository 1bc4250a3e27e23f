"""Where the time of a forward goes: every layer's time, MACs and bytes, and how near it comes to the machine's roofs.

MACs are those of what PyTorch executes, by the rules of ``counters.base``; the time is the runtime's own answer.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.float32 import exact_float32
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.counters.base import counting_copy, log_execution
from vireid.profiling.deployed_file import load_module, save_module
from vireid.profiling.device import available_cores, thread_limit
from vireid.profiling.isolation import Limit, run_isolated
from vireid.profiling.latency import attempt, measure, roofs
from vireid.profiling.runtimes.layer_times import LayersUntoldError, TellsLayers

BYTES_PER_VALUE = 4  # of what PyTorch executes, counted in float32
TELL = ("eager", "channels_last", "onnxruntime", "openvino")  # of the suite's runtimes, those that know their layers


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a forward of the whole batch."""

    module: str  # its path in the deployed module; empty for the outermost module's own operators
    seconds: float
    macs: int
    bytes: int | None  # weights, inputs and outputs; None where nothing is known

    @property
    def intensity(self) -> float | None:
        """Operations (2 per MAC) per byte moved."""
        return None if not self.bytes else 2 * self.macs / self.bytes


@dataclass(frozen=True, slots=True)
class Roofs:
    """What the machine reaches at the profile's threads."""

    gflops: float  # GFLOP/s of a matrix product
    bandwidth: float  # GB/s of STREAM's triad

    def seconds(self, layer: Layer) -> float | None:
        """The least time of a layer beneath the roofs; None where its bytes are not known."""
        return None if layer.bytes is None else max(self._arithmetic(layer), self._memory(layer))

    def share(self, layer: Layer) -> float | None:
        """What a layer achieves of what is attainable at its intensity; of the bandwidth where it has no MACs."""
        least = self.seconds(layer)
        return None if not least or not layer.seconds else least / layer.seconds

    def bound(self, layer: Layer) -> str | None:
        """Which roof is the lower one there, ``compute`` or ``memory``; None where its bytes are not known."""
        if not layer.bytes:
            return None
        return "compute" if self._arithmetic(layer) >= self._memory(layer) else "memory"

    def _arithmetic(self, layer: Layer) -> float:
        return 2 * layer.macs / self.gflops / 1e9

    def _memory(self, layer: Layer) -> float:
        return (layer.bytes or 0) / self.bandwidth / 1e9


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """The layers of one runtime, thread count and batch size, in order of execution."""

    runtime: str
    precision: str
    threads: int
    batch: int
    status: str  # ok, skipped, failed
    reason: str | None = None
    layers: tuple[Layer, ...] = ()
    rest: Layer | None = None  # what belongs to no module, so that the sum is the whole forward
    profiled: float = 0.0  # seconds of a forward with the profile
    plain: float = 0.0  # and without
    roofs: Roofs | None = None
    method: str = ""
    notes: tuple[str, ...] = ()

    @property
    def explained(self) -> float:
        """What share of the profiled forward the layers sum up to."""
        return sum(layer.seconds for layer in self.layers) / self.profiled


def layer_profiles(
    deployable: nn.Module,
    height: int,
    width: int,
    config: ProfileConfig,
    *,
    device: torch.device | str = "cpu",
    emulate: bool = False,
) -> Iterator[LayerProfile]:
    """Profile the layers of ``deployable`` (B×3×H×W → B×D) in every runtime, thread count and batch size of ``config``.

    Under a limit, or where ``config`` isolates, each profile is made in a process of its own.

    Args:
        deployable: images → embedding.
        height: pixels.
        width: pixels.
        config: what to measure.
        device: where to run.
        emulate: measure precisions too that the processor has no instructions for.

    Yields:
        One profile per combination; "skipped" with the reason where a runtime does not tell of its layers.
    """
    for runtime in config.runtimes:
        for threads in config.thread_counts(available_cores()):
            for batch in config.batches:
                update = {"runtimes": [runtime], "threads": [threads], "batches": [batch]}
                single = config.model_copy(update=update)
                one = partial(_one, deployable=deployable, height=height, width=width, single=single, device=device)
                told = attempt(single, device, emulate, one)
                yield _profile(told, runtime.name, threads, batch)


def _one(
    runtime: Any, deployable: nn.Module, height: int, width: int, single: ProfileConfig, device: torch.device | str
) -> dict[str, Any]:
    if not isinstance(runtime, TellsLayers):
        reason = f"runtime '{single.runtimes[0].name}' does not tell the time of its layers; {', '.join(TELL)} do"
        return {"status": "skipped", "reason": reason}
    if single.isolated:
        return _isolated(deployable, height, width, single, device)
    return _measured(runtime, deployable, example_images(single.batches[0], height, width, device), single)


def _measured(runtime: TellsLayers, module: nn.Module, images: Tensor, single: ProfileConfig) -> dict[str, Any]:
    (threads,) = single.threads or [1]

    doubts: list[str] = []

    def repeat(call: Callable[[], object]) -> Sequence[float]:
        samples = measure(lambda _: call(), images, threads=threads, budget=single.budget)
        doubts.extend(note for note in samples.notes if note not in doubts)
        return samples.seconds

    try:
        with exact_float32(images.device), thread_limit(threads):
            told = runtime.layer_times(module, images, repeat)
    except LayersUntoldError as error:
        return {"status": "skipped", "reason": str(error)}
    work = work_of_modules(module, images)
    layers, found = [], set()
    for time in told.layers:
        path = canonical(module, time.module)
        macs, moved = (0, 0) if path in found else work.get(path, (0, 0))
        found.add(path)
        layers.append(asdict(Layer(path, time.seconds, macs, moved if time.bytes is None else time.bytes)))
    rest = max(0.0, told.profiled - sum(time.seconds for time in told.layers))
    unfound = sum(macs for path, (macs, _) in work.items() if path not in found)
    peaks, unmeasured = roofs(single, images)
    return {
        "layers": layers,
        "rest": asdict(Layer("not attributed", rest, unfound, None)),
        "profiled": told.profiled,
        "plain": told.plain,
        "roofs": {name: peak["value"] for name, peak in peaks.items()},
        "method": told.method,
        "notes": [*doubts, *unmeasured],
    }


def work_of_modules(module: nn.Module, images: Tensor) -> dict[str, tuple[int, int]]:
    """MACs, and bytes that computing operators read and write in float32, of one forward, by the module's path.

    An operator belongs to the innermost module whose forward it runs in; a module with several places has its first.
    """
    copy = counting_copy(module)
    paths = {inner: path for path, inner in copy.named_modules()}
    work: dict[str, tuple[int, int]] = {}
    for call in log_execution(copy, images.cpu()):
        macs, moved = work.get(paths[call.module], (0, 0))
        if call.macs or call.elementwise:  # views move nothing
            moved += BYTES_PER_VALUE * sum(torch.Size(shape).numel() for shape in call.shapes)
        work[paths[call.module]] = macs + call.macs, moved
    return work


def canonical(module: nn.Module, path: str) -> str:
    """The first path of the module at ``path``: a shared module has several, and only one counts."""
    inner = module.get_submodule(path)
    paths: dict[nn.Module, str] = {other: first for first, other in module.named_modules()}
    return paths[inner]


TASK = "vireid.profiling.layers:measure_file"


def _isolated(
    module: nn.Module, height: int, width: int, single: ProfileConfig, device: torch.device | str
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vireid-layers-") as name:
        file = Path(name) / "module.pt"
        save_module(module, file)
        arguments = {"pickled": str(file), "profile": single.model_dump(mode="json"), "height": height, "width": width}
        (threads,) = single.threads or [1]
        answer = run_isolated(
            TASK,
            {**arguments, "device": str(device)},
            threads=threads,
            limit=None if single.limit is None else Limit.parse(single.limit),
            timeout_seconds=single.timeout_seconds,
        )
    status = {"status": answer.status, "reason": answer.reason}
    return {**status, **answer.result, "notes": [*answer.notes, *answer.result.get("notes", [])]}


def measure_file(pickled: str, profile: Mapping[str, Any], height: int, width: int, device: str) -> dict[str, Any]:
    """The task of the isolated process: what ``_measured`` gives, of a pickled module."""
    single = parse(ProfileConfig, profile, "profile")
    (config,), (batch,) = single.runtimes, single.batches
    runtime = RUNTIMES.load(config.name)(config)
    module = load_module(Path(pickled), device)
    return _measured(runtime, module, example_images(batch, height, width, device), single)


def _profile(told: Mapping[str, Any], runtime: str, threads: int, batch: int) -> LayerProfile:
    peaks, rest = told.get("roofs"), told.get("rest")
    return LayerProfile(
        runtime,
        told["precision"],
        threads,
        batch,
        told["status"],
        told["reason"],
        tuple(Layer(**layer) for layer in told.get("layers", ())),
        None if rest is None else Layer(**rest),
        told.get("profiled", 0.0),
        told.get("plain", 0.0),
        Roofs(**peaks) if peaks else None,
        told.get("method", ""),
        tuple(told["notes"]),
    )
