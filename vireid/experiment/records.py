"""The fields that every record of a configuration shares, and records of failure."""

from __future__ import annotations

from typing import Any

import torch

from vireid.config import ExperimentConfig
from vireid.core.environment import Environment, snapshot
from vireid.core.records import FitRecord, now
from vireid.experiment.device import device_of, threads_of
from vireid.experiment.identity import data_kind, data_specification, fit_id, fit_specification, rendered, stamps
from vireid.experiment.sources import part_stamp
from vireid.profiling.device import describe_device


def environment(config: ExperimentConfig) -> Environment:
    """Snapshot of this process and machine."""
    device = device_of(config)
    accelerator = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return snapshot(accelerator=accelerator, threads=threads_of(config), device=describe_device())


def common(config: ExperimentConfig, started: str, *parts: str) -> dict[str, Any]:
    """Fields of ``RecordBase`` beside id, status and reason; ``parts`` are what made it beside the components."""
    return {
        "data_kind": data_kind(config),
        "environment": environment(config),
        "components": {**stamps(config), **{part: part_stamp(part) for part in parts}},
        "started": started,
        "ended": now(),
    }


def failed_fit(config: ExperimentConfig, reason: str, started: str | None = None) -> FitRecord:
    """Record of a failed attempt at a fit; kept beside results, never read as one."""
    return FitRecord(
        id=fit_id(config),
        status="failed",
        reason=reason,
        config=fit_specification(config),
        seed=config.seed,
        data={"specification": {**data_specification(config), "synthetic": rendered(config)}},
        **common(config, started or now(), "trainer"),
    )
