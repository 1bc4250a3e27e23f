"""A deployed graph handed to an isolated process as a file, and what is measured of it there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.forward import measure_forward
from vireid.profiling.isolation import run_isolated
from vireid.profiling.latency import thread_limit
from vireid.profiling.limits import Limit
from vireid.profiling.runtimes.base import Session

TASK = "vireid.profiling.artefact:measure_file"


@runtime_checkable
class StoresFiles(Protocol):
    """A runtime whose deployed form is a file of its own; of the others it is the pickled PyTorch module."""

    def store(self, module: nn.Module, example: Tensor, folder: Path) -> Path:
        """Write ``module`` for batches shaped like ``example`` into ``folder``: the file, or a folder of files."""
        ...

    def load(self, file: Path, example: Tensor) -> Session:
        """Make ready what ``store`` wrote; nothing of PyTorch's module is needed."""
        ...


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
        size = _bytes_on_disk(stored)
    return {
        "status": answer.status,
        "reason": answer.reason,
        "isolated": True,
        "affinity": answer.affinity,
        "limit": answer.limit,
        "size_bytes": size,
        **answer.result,
        "notes": [*answer.notes, *answer.result.get("notes", [])],
    }


def save_module(module: nn.Module, file: Path) -> None:
    """Write a module with its weights.

    Raises:
        UserError: it cannot be pickled.
    """
    try:
        torch.save(module, file)
    except Exception as error:  # pickling runs the module's own code, which may raise anything
        raise UserError(
            f"{type(module).__name__} cannot be handed to another process ({type(error).__name__}: {error}); "
            "define it and what it holds at the top of a module, or set profile.isolate=false"
        ) from error


def load_module(file: Path, device: torch.device | str) -> nn.Module:
    """Read what ``save_module`` wrote: a whole pickled module, which only this suite's own process may have made."""
    module: nn.Module = torch.load(file, map_location=device, weights_only=False)
    return module


def measure_file(
    pickled: str, stored: str, profile: Mapping[str, Any], height: int, width: int, device: str
) -> dict[str, Any]:
    """The task of the isolated process: from a file to its first answer, then as ``measure_forward``."""
    single = parse(ProfileConfig, profile, "profile")
    (runtime_config,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    runtime = RUNTIMES.load(runtime_config.name)(runtime_config)
    images = example_images(batch, height, width, device)
    with thread_limit(threads):
        begin = time.perf_counter()
        if isinstance(runtime, StoresFiles):
            session = runtime.load(Path(stored), images)
        else:
            session = runtime.prepare(load_module(Path(stored), device), images)
        session(images)
        loaded = time.perf_counter() - begin
    found = measure_forward(session, lambda: load_module(Path(pickled), device), images, single)
    return {**found, "load_seconds": loaded}


def _bytes_on_disk(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
