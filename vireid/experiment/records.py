"""Where a run computes, and the fields that every record of a configuration shares, also records of failure."""

import io
import os
from typing import Any

import pandas as pd
import torch

from vireid.config import ExperimentConfig
from vireid.core.environment import Environment, snapshot
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.processor import emulated
from vireid.core.records import FitRecord, now
from vireid.experiment.context import RunContext
from vireid.experiment.identity import component_stamps, data_kind, data_specification, rendered
from vireid.experiment.sources import part_stamp
from vireid.profiling.device import describe_device
from vireid.store import Store, write_atomically


def device_of(config: ExperimentConfig) -> torch.device:
    """The device that a run uses: ``runtime.device``, or an accelerator where there is one."""
    if config.runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.runtime.device)


def threads_of(config: ExperimentConfig) -> int:
    """CPU threads that each process of a run uses."""
    return config.runtime.threads or max(1, (os.cpu_count() or 1) // config.runtime.processes)


def check_precisions(config: ExperimentConfig) -> None:
    """Refuse precisions of training and of deployed evaluation that this processor would emulate.

    Emulated bfloat16 takes ten times as long as float32, so it is refused before anything is rendered or trained.
    Runtimes of a profile are not refused: they are skipped, with the reason on record.

    Raises:
        UserError: naming the key, the processor, what it lacks and both remedies; fp16 without an accelerator.
    """
    on_cpu = device_of(config).type == "cpu"
    if on_cpu and config.recipe.precision == "fp16":
        raise UserError(
            "recipe.precision = fp16: its loss scaling is for accelerators, no processor trains in it: set "
            "recipe.precision=fp32"
        )
    if config.runtime.emulate:
        return
    wanted = [
        ("evaluation.deployed", "precision", getattr(part, "precision", "fp32")) for part in config.evaluation.deployed
    ]
    if on_cpu:
        wanted.insert(0, ("recipe.precision", "recipe.precision", config.recipe.precision))
    for key, remedy, precision in wanted:
        if (reason := emulated(precision)) is not None:
            raise UserError(
                f"{key} = {precision}: {reason}: set {remedy}=fp32, or runtime.emulate=true to have it emulated, "
                "slower than fp32"
            )


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
        **common(config, started, *(["trainer"] if config.imported is None else [])),
    }


def write_per_query(store: Store, fit: str, id_: str, table: pd.DataFrame) -> dict[str, str]:
    """Write the per-query table of evaluation ``id_`` of a fit; the fields of its record that name it."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    file = f"{fit}/per_query-{id_}.parquet"
    write_atomically(store.runs / file, content.getvalue())
    return {"per_query_file": file, "per_query_digest": file_digest(store.runs / file)}


def failed_fit(run: RunContext, reason: str, started: str | None = None) -> FitRecord:
    """Record of a failed attempt at a fit; kept beside results, never read as one."""
    return FitRecord(status="failed", reason=reason, **fit_fields(run, started or now()))
