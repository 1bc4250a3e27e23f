"""Peak memory of a deployed artefact: how far loading and running it raises the resident memory of a fresh process.

What the process holds before it is an empty runtime: interpreter, libraries, thread pools and code that the runtime
needs for any network, warmed by the least of networks. So the figure is the artefact's own, PyTorch's size and the
images left out, whatever the runtime made of the file: weights packed anew, arenas, activations.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.core.config import Component, parse
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.deployed_file import StoresFiles, load_module, save_module
from vireid.profiling.device import thread_limit
from vireid.profiling.isolation import run_isolated
from vireid.profiling.memory import PeakMemory, give_back_freed_memory
from vireid.profiling.runtimes.base import Session

TASK = "vireid.profiling.artefact_memory:measure_in_child"
METHOD = "growth of resident memory over an empty runtime, loading included, in a process of its own"
RUNS = 3  # forwards after loading: the first ones set arenas up


class LeastNetwork(nn.Module):
    """What warms a runtime: a convolution, its activation, a pool and a linear layer (B×3×H×W → B×4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Four values of each image."""
        return torch.as_tensor(self.layers(images))


def memory_of_file(
    stored: Path, height: int, width: int, single: ProfileConfig, folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """What a stored artefact adds to an empty runtime, measured in a process of its own.

    Args:
        stored: the artefact's file.
        height: pixels.
        width: pixels.
        single: a profile of one runtime, thread count and batch size.
        folder: for the least network's file.

    Returns:
        ``peak_memory_bytes`` and ``memory_by``, of a ``LatencyRecord``; or nothing, and a note that says why.
    """
    (config,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    plain = without_quantisation(config)
    runtime, least = RUNTIMES.load(plain.name)(plain), folder / "least"
    if isinstance(runtime, StoresFiles):
        least.mkdir()
        least = runtime.store(LeastNetwork().eval(), example_images(batch, height, width), least)
    else:
        save_module(LeastNetwork().eval(), least)
    files = {"stored": str(stored), "least": str(least), "profile": single.model_dump(mode="json")}
    answer = run_isolated(
        TASK,
        {**files, "height": height, "width": width, "device": "cpu"},
        threads=threads,
        timeout_seconds=single.timeout_seconds,
    )
    return answer.result, [] if answer.status == "ok" else [f"peak memory not measured: {answer.reason}"]


def without_quantisation(runtime: Component) -> Component:
    """The runtime in float32 where it would quantise: the least network needs no ranges to warm the library."""
    if getattr(runtime, "precision", None) != "int8":
        return runtime
    return parse(type(runtime), {"name": runtime.name}, "runtime")


def measure_in_child(
    stored: str, least: str, profile: Mapping[str, Any], height: int, width: int, device: str
) -> dict[str, Any]:
    """The task of the isolated process.

    Args:
        stored: the artefact's file.
        least: the least network's, in ``without_quantisation`` of the runtime.
        profile: of one runtime, thread count and batch size.
        height: pixels.
        width: pixels.
        device: of the images; main memory is what is measured.

    Returns:
        ``peak_memory_bytes`` and ``memory_by``, of a ``LatencyRecord``.
    """
    single = parse(ProfileConfig, profile, "profile")
    (config,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    images = example_images(batch, height, width, device)
    with thread_limit(threads):
        _load(without_quantisation(config), Path(least), images)(images)
        gc.collect()
        give_back_freed_memory()
        with PeakMemory() as memory:
            session = _load(config, Path(stored), images)
            for _ in range(RUNS):
                session(images)
    return {"peak_memory_bytes": memory.working_bytes, "memory_by": f"{METHOD} ({memory.method})"}


def _load(config: Component, file: Path, images: Tensor) -> Session:
    runtime = RUNTIMES.load(config.name)(config)
    if isinstance(runtime, StoresFiles):
        return runtime.load(file, images)
    session: Session = runtime.prepare(load_module(file, images.device), images)
    return session
