"""Configuration → cost record and latency records. Needs no data and no training: initial weights cost the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.records import CostRecord, LatencyRecord, now
from vireid.core.types import Modality
from vireid.experiment.cost.identity import forward_combinations, stage_combinations
from vireid.experiment.cost.query_pipeline import identify_image, measure_stages
from vireid.experiment.device import device_of
from vireid.experiment.fit import build_model
from vireid.experiment.identity import component_specification, cost_id
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.records import common
from vireid.profiling.complexity import cost
from vireid.profiling.config import ProfileConfig
from vireid.profiling.latency import latency
from vireid.store import Store

Measurement = Callable[[ExperimentConfig, ProfileConfig], dict[str, Any]]

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
    encoder = dict(model.named_children()).get("text")
    record = CostRecord(
        id=run,
        status="ok",
        model=component_specification("model", config.model),
        num_classes=REFERENCE_CLASSES,
        text_parameters=sum(p.numel() for p in encoder.parameters()) if encoder is not None else 0,
        **{key: found[key] for key in CostRecord.model_fields if key in found},
        **common(config, started),
    )
    store.put(record)
    progress("count parameters and MACs", 1, 1)
    return record


def latency_step(config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> list[LatencyRecord]:
    """As ``measure_latencies``, for a study, which must know of a failure.

    Raises:
        UserError: a measurement failed.
    """
    records = measure_latencies(config, store, progress)
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None:
        raise UserError(f"latency of {config.model.name} could not be measured: {failed.reason}")
    return records


def measure_latencies(
    config: ExperimentConfig, store: Store, progress: ProgressCallback = silent
) -> list[LatencyRecord]:
    """Measure the latency of a configuration's deployed graph on this machine, and if asked the way to a ranked list.

    Configurations with the same deployed graph share their records. A measurement that fails leaves a failed record
    and does not stop the others.

    Raises:
        UserError: there is no deployed graph to file a latency under.
    """
    artefact = cost_step(config, store).artefact
    if artefact is None:
        raise UserError(f"cost record {cost_id(config)} names no deployed graph, so that its latency cannot be filed")
    todo = list(_todo(config, artefact))
    records: list[LatencyRecord] = []
    for done, (run, single, measurement) in enumerate(todo):
        progress("measure latency", done, len(todo), _in_words(single))
        record = store.get(run)
        if not isinstance(record, LatencyRecord):
            record = _measure(config, single, measurement, run, artefact)
            store.put(record)
        records.append(record)
    progress("measure latency", len(todo), len(todo))
    return records


def is_profiled(config: ExperimentConfig, store: Store, *, latency: bool) -> bool:
    """Whether the configuration's cost, and if asked its latency on this machine, are on record."""
    record = store.get(cost_id(config))
    if not isinstance(record, CostRecord):
        return False
    if not latency or record.artefact is None:
        return not latency
    return all(store.get(run) is not None for run, *_ in _todo(config, record.artefact))


def _in_words(single: ProfileConfig) -> str:
    (runtime,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    return f"{runtime.name}, {threads} thread{'s' if threads > 1 else ''}, batch {batch}"


def _build(config: ExperimentConfig) -> tuple[Any, nn.Module]:
    """The model and what is deployed of it for infrared images, the queries."""
    model = build_model(config, REFERENCE_CLASSES, pretrained=False)
    return cast(nn.Module, model).eval(), model.deployable(Modality.INFRARED).eval()


def _todo(config: ExperimentConfig, artefact: str) -> Iterator[tuple[str, ProfileConfig, Measurement]]:
    """Each record that the profile asks for: its id, a profile of just that one, and how it is measured."""
    for run, single in forward_combinations(config, artefact):
        yield run, single, _measure_forward
    if config.profile.stages is not None:
        for run, single in stage_combinations(config, artefact, identify_image(config.profile.stages)):
            yield run, single, _measure_stages


def _measure_forward(config: ExperimentConfig, single: ProfileConfig) -> dict[str, Any]:
    _, deployable = _build(config)
    height, width = config.data.height, config.data.width
    (found,) = latency(
        deployable, height, width, single, artefact="", device=device_of(config), emulate=config.runtime.emulate
    )
    return found


def _measure_stages(config: ExperimentConfig, single: ProfileConfig) -> dict[str, Any]:
    _, deployable = _build(config)
    height, width = config.data.height, config.data.width
    return measure_stages(deployable, height, width, single, device_of(config), emulate=config.runtime.emulate)


def _measure(
    config: ExperimentConfig, single: ProfileConfig, measurement: Measurement, run: str, artefact: str
) -> LatencyRecord:
    started = now()
    found = {**measurement(config, single), "id": run, "artefact": artefact, **common(config, started)}
    return LatencyRecord(**{key: found[key] for key in LatencyRecord.model_fields if key in found})
