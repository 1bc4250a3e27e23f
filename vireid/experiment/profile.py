"""Configuration → cost record and latency records. Needs no data and no training: initial weights cost the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.records import CostRecord, LatencyRecord, now
from vireid.core.types import Modality
from vireid.experiment.device import device_of
from vireid.experiment.fit import build_model
from vireid.experiment.identity import component_specification, cost_id
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.records import common
from vireid.profiling.config import ProfileConfig
from vireid.profiling.device import available_cores, describe_device, device_identity
from vireid.profiling.profile import cost, latency
from vireid.store import Store

REFERENCE_CLASSES = 395  # SYSU-MM01's training identities: training-only parameters of any data set are counted at it


def cost_step(config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> CostRecord:
    """Count parameters and MACs of a configuration, or return the finished record."""
    run = cost_id(config)
    record = store.get(run)
    if isinstance(record, CostRecord):
        return record
    started = now()
    progress("count parameters and MACs", 0, 1)
    model, deployable = _build(config)
    found = cost(
        model,
        deployable,
        config.data.height,
        config.data.width,
        counters=config.profile.counters,
        others=[model.deployable(Modality.VISIBLE)],
    )
    record = CostRecord(
        id=run,
        status="ok",
        model=component_specification("model", config.model),
        num_classes=REFERENCE_CLASSES,
        **{key: found[key] for key in CostRecord.model_fields if key in found},
        **common(config, started),
    )
    store.put(record)
    progress("count parameters and MACs", 1, 1)
    return record


def latency_step(config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> list[LatencyRecord]:
    """Measure the latency of a configuration's deployed graph on this machine.

    Configurations with the same deployed graph share their records. A measurement that fails leaves a failed record
    and does not stop the others.

    Raises:
        UserError: nothing could be measured.
    """
    artefact = cost_step(config, store).artefact
    if artefact is None:
        raise UserError(f"cost record {cost_id(config)} names no deployed graph, so that its latency cannot be filed")
    todo = list(_combinations(config, artefact))
    records: list[LatencyRecord] = []
    failure = None
    for done, (run, single) in enumerate(todo):
        progress("measure latency", done, len(todo))
        record = store.get(run)
        if not isinstance(record, LatencyRecord):
            record = _measure(config, single, run, artefact)
            store.put(record)
        if record.status == "failed":
            failure = record.reason
        else:
            records.append(record)
    progress("measure latency", len(todo), len(todo))
    if failure is not None:
        raise UserError(f"latency of {config.model.name} could not be measured: {failure}")
    return records


def is_profiled(config: ExperimentConfig, store: Store, *, latency: bool) -> bool:
    """Whether the configuration's cost, and if asked its latency on this machine, are on record."""
    record = store.get(cost_id(config))
    if not isinstance(record, CostRecord):
        return False
    if not latency or record.artefact is None:
        return not latency
    return all(store.get(run) is not None for run, _ in _combinations(config, record.artefact))


def _build(config: ExperimentConfig) -> tuple[Any, nn.Module]:
    """The model and what is deployed of it for infrared images, the queries."""
    model = build_model(config, REFERENCE_CLASSES, pretrained=False)
    return cast(nn.Module, model).eval(), model.deployable(Modality.INFRARED).eval()


def _combinations(config: ExperimentConfig, artefact: str) -> Iterator[tuple[str, ProfileConfig]]:
    """Each measurement of the profile as its record's id and a profile of just that one."""
    profile = config.profile
    for runtime in profile.runtimes:
        for threads in profile.threads or [config.runtime.threads or available_cores()]:
            for batch in profile.batches:
                run = run_id(
                    {
                        "kind": "latency",
                        "artefact": artefact,
                        "runtime": runtime.model_dump(mode="json"),
                        "batch": batch,
                        "threads": threads,
                        "budget": profile.budget.model_dump(mode="json"),
                        "device": _machine(),
                        "accelerator": str(device_of(config)),
                    }
                )
                chosen = {"runtimes": [runtime], "threads": [threads], "batches": [batch]}
                yield run, profile.model_copy(update=chosen)


@cache
def _machine() -> dict[str, Any]:
    return device_identity(describe_device())


def _measure(config: ExperimentConfig, single: ProfileConfig, run: str, artefact: str) -> LatencyRecord:
    started = now()
    _, deployable = _build(config)
    height, width = config.data.height, config.data.width
    (found,) = latency(deployable, height, width, single, artefact=artefact, device=device_of(config))
    return LatencyRecord(
        id=run,
        **{key: found[key] for key in LatencyRecord.model_fields if key in found},
        **common(config, started),
    )
