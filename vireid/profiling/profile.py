"""A model's cost and latency as plain dictionaries, ready for records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from vireid.core.types import DeclaresRoles
from vireid.profiling import RUNTIMES
from vireid.profiling.artefact import measure_isolated
from vireid.profiling.complexity import complexity, example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.device import affinity, available_cores
from vireid.profiling.forward import measure_forward
from vireid.profiling.parameters import parameter_counts, size_bytes
from vireid.profiling.runtimes.reasons import unavailable


def cost(
    full_model: nn.Module,
    deployable: nn.Module,
    height: int,
    width: int,
    *,
    counters: Sequence[str] = ("torch", "fvcore", "thop"),
    roles: Mapping[str, str] | None = None,
    others: Sequence[nn.Module] = (),
) -> dict[str, Any]:
    """Parameters by role, MACs per image and size of the deployed graph.

    Args:
        full_model: the model as trained; asked for ``parameter_roles()`` if it has one and ``roles`` is not given.
        deployable: images (B×3×H×W) → embedding (B×D).
        height: pixels.
        width: pixels.
        counters: names in ``COUNTERS``.
        roles: role of parameters by name.
        others: deployable modules of the other modalities; they count among the deployed parameters.

    Returns:
        What ``complexity`` returns, with ``parameters`` and ``size_bytes``.
    """
    if roles is None and isinstance(full_model, DeclaresRoles):
        roles = full_model.parameter_roles()
    return {
        **complexity(deployable, height, width, counters=counters),
        "parameters": parameter_counts(full_model, [deployable, *others], roles),
        "size_bytes": size_bytes(deployable),
    }


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
    (runtime_config,), (batch,) = single.runtimes, single.batches
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
        if single.isolated:
            return {**result, **measure_isolated(deployable, height, width, single, device)}
        images = example_images(batch, height, width, device)
        session = runtime.prepare(deployable, images)
        found = measure_forward(session, lambda: deployable, images, single)
    except Exception as error:  # recorded as a failed measurement; the other combinations still run
        return {**result, "status": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {**result, "status": "ok", "reason": None, "affinity": affinity(), **found}
