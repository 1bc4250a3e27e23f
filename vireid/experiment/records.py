"""The fields that every record of a configuration shares, and records of failure."""

from typing import Any

import torch

from vireid.config import ExperimentConfig
from vireid.core.environment import Environment, snapshot
from vireid.core.records import FitRecord, now
from vireid.experiment.context import RunContext
from vireid.experiment.device import device_of, threads_of
from vireid.experiment.identity import component_stamps, data_kind, data_specification, rendered
from vireid.experiment.sources import part_stamp
from vireid.profiling.device import describe_device


def environment(config: ExperimentConfig) -> Environment:
    """Snapshot of this process and machine."""
    device = device_of(config)
    accelerator = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return snapshot(accelerator=accelerator, threads=threads_of(config), device=describe_device())


def common(config: ExperimentConfig, started: str, *made_by: str) -> dict[str, Any]:
    """Fields of ``RecordBase`` beside id, status and reason; ``made_by``: trainer, evaluator, beside the components."""
    return {
        "data_kind": data_kind(config),
        "environment": environment(config),
        "components": {**component_stamps(config), **{part: part_stamp(part) for part in made_by}},
        "started": started,
        "ended": now(),
    }


def fit_fields(run: RunContext, started: str) -> dict[str, Any]:
    """Fields that every record of an attempt at the fit shares; its data are those that are known without reading."""
    config = run.config
    return {
        "id": run.ids.fit,
        "config": run.ids.fit_specification(),
        "seed": config.seed,
        "data": {"specification": {**data_specification(config), "synthetic": rendered(config)}},
        **common(config, started, "trainer"),
    }


def failed_fit(run: RunContext, reason: str, started: str | None = None) -> FitRecord:
    """Record of a failed attempt at a fit; kept beside results, never read as one."""
    return FitRecord(status="failed", reason=reason, **fit_fields(run, started or now()))
