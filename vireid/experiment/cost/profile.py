"""Configuration → cost record and latency records. Needs no data and no training: initial weights cost the same.

Ids of latencies hash the machine: what is measured here is not what is measured elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, cast

import torch
from pydantic import BaseModel
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.config import Component, deciding, resolved
from vireid.core.errors import UserError
from vireid.core.files import by_content
from vireid.core.identity import run_id
from vireid.core.processor import kernels_held_to
from vireid.core.records import CostRecord, LatencyRecord, now
from vireid.core.types import Modality
from vireid.experiment.context import RunContext
from vireid.experiment.cost.query_pipeline import identify_image, measure_query
from vireid.experiment.fit import build_model
from vireid.experiment.identity import component_specification
from vireid.experiment.records import common, device_of
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import cost
from vireid.profiling.config import ProfileConfig
from vireid.profiling.device import available_cores, describe_device, device_identity
from vireid.profiling.latency import latency

Measurement = Callable[..., dict[str, Any]]  # of a deployed graph, as ``measure_query``

REFERENCE_CLASSES = 395  # SYSU-MM01's training identities: training-only parameters of any data set are counted at it

# Keys that an identity holds whatever their value: ids made before others were left out at their defaults had them all.
_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "runtime": ("precision", "channels_last"),
    "budget": ("warmup_seconds", "min_seconds", "min_repeats", "max_seconds", "max_repeats"),
}


def cost_step(run: RunContext) -> CostRecord:
    """Count parameters and MACs of a configuration, or return the finished record."""
    record = run.store.get(run.ids.cost)
    if isinstance(record, CostRecord):
        return record
    started = now()
    run.progress("count parameters and MACs", 0, 1)
    model, deployable = deployed_graph(run.config)
    others = [model.deployable(Modality.VISIBLE)]
    height, width = run.config.data.height, run.config.data.width
    counted = cost(model, deployable, height, width, counters=run.config.profile.counters, others=others)
    encoder = dict(model.named_children()).get("text")
    record = CostRecord(
        id=run.ids.cost,
        status="ok",
        model=component_specification("model", run.config.model),
        num_classes=REFERENCE_CLASSES,
        text_parameters=sum(p.numel() for p in encoder.parameters()) if encoder is not None else 0,
        **{key: counted[key] for key in CostRecord.model_fields if key in counted},
        **common(run.config, started),
    )
    run.store.put(record)
    run.progress("count parameters and MACs", 1, 1)
    return record


def latency_step(run: RunContext) -> list[LatencyRecord]:
    """As ``measure_latencies``, for a study, which must know of a failure.

    Raises:
        UserError: a measurement failed.
    """
    records = measure_latencies(run)
    failed = next((record for record in records if record.status == "failed"), None)
    if failed is not None:
        raise UserError(f"latency of {run.config.model.name} could not be measured: {failed.reason}")
    return records


def measure_latencies(run: RunContext, *, again: bool = False) -> list[LatencyRecord]:
    """Measure the latency of a configuration's deployed graph on this machine and, if asked, of a whole query.

    Configurations with the same deployed graph share their records. A measurement that fails leaves a failed record
    and does not stop the others.

    Args:
        run: the configuration and its store.
        again: measure anew where the profiler doubted a measurement on record (noise, other work on the machine), or
            where its peak memory is withdrawn; the new record replaces that one, whether it is calmer or not.

    Raises:
        UserError: there is no deployed graph to file a latency under.
    """
    graph = cost_step(run).artefact
    if graph is None:
        raise UserError(f"cost record {run.ids.cost} names no deployed graph, so that its latency cannot be filed")
    todo = list(_todo(run.config, graph))
    records: list[LatencyRecord] = []
    for done, (id_, single, measure) in enumerate(todo):
        run.progress("measure latency", done, len(todo), _label(single))
        record = run.store.get(id_)
        if not isinstance(record, LatencyRecord) or (again and (record.notes or record.memory_withdrawn)):
            started = now()
            (_, deployable), size = deployed_graph(run.config), run.config.data
            measured = measure(
                deployable, size.height, size.width, single, device_of(run.config), emulate=run.config.runtime.emulate
            )
            fields = {**measured, "id": id_, "artefact": graph, **common(run.config, started)}
            record = LatencyRecord(**{key: fields[key] for key in LatencyRecord.model_fields if key in fields})
            run.store.put(record)
        records.append(record)
    run.progress("measure latency", len(todo), len(todo))
    return records


def is_profiled(run: RunContext, *, latency: bool) -> bool:
    """Whether the configuration's cost, and if asked its latency on this machine, are on record."""
    record = run.store.get(run.ids.cost)
    if not isinstance(record, CostRecord):
        return False
    if not latency or record.artefact is None:
        return not latency
    return all(run.store.get(id_) is not None for id_, *_ in _todo(run.config, record.artefact))


def _label(single: ProfileConfig) -> str:
    (runtime,), (threads,), (batch,) = single.runtimes, single.threads or [1], single.batches
    return f"{runtime.name}, {threads} thread{'s' if threads > 1 else ''}, batch {batch}"


def deployed_graph(config: ExperimentConfig) -> tuple[Any, nn.Module]:
    """The model and what is deployed of it for infrared images, the queries."""
    model = build_model(config, REFERENCE_CLASSES, pretrained=False)
    return cast(nn.Module, model).eval(), model.deployable(Modality.INFRARED).eval()


def _todo(config: ExperimentConfig, graph: str) -> Iterator[tuple[str, ProfileConfig, Measurement]]:
    """Each record that the profile asks for: its id, a profile of just that one, and how it is measured."""
    for id_, single in forward_combinations(config, graph):
        yield id_, single, _measure_forward
    if config.profile.stages is not None:
        for id_, single in query_combinations(config, graph, identify_image(config.profile.stages)):
            yield id_, single, measure_query


def forward_combinations(config: ExperimentConfig, graph: str) -> Iterator[tuple[str, ProfileConfig]]:
    """Each forward pass that the profile measures: its record's id, and a profile of just that one."""
    for single, condition in _conditions(config, graph):
        for batch in config.profile.batches:
            yield run_id({**condition, "batch": batch}), single.model_copy(update={"batches": [batch]})


def query_combinations(
    config: ExperimentConfig, graph: str, image: Mapping[str, Any]
) -> Iterator[tuple[str, ProfileConfig]]:
    """Each query, from a JPEG file to a ranked list, that the profile measures; ``image`` identifies the file."""
    stages = config.profile.stages
    if stages is None:
        return
    settings = {"image": dict(image), "gallery": stages.gallery, "top": stages.top}
    for single, condition in _conditions(config, graph):
        yield run_id({**condition, "batch": 1, "stages": settings}), single.model_copy(update={"batches": [1]})


def _conditions(config: ExperimentConfig, graph: str) -> Iterator[tuple[ProfileConfig, dict[str, Any]]]:
    """Profiles of one runtime and thread count, and what decides their measurements beside the batch size."""
    profile = config.profile
    modes = {"isolate": profile.isolated, "limit": profile.limit, "sustained_seconds": profile.sustained_seconds}
    for runtime in profile.runtimes:
        for threads in profile.thread_counts(config.runtime.threads or available_cores()):
            condition = {
                "kind": "latency",
                "artefact": graph,
                "runtime": {**_identifying("runtime", runtime), **_version(runtime)},
                "threads": threads,
                "budget": _identifying("budget", profile.budget),
                "device": device_identity(_description()),
                **_kernels(runtime.name),
                "accelerator": str(device_of(config)),
                **{key: value for key, value in modes.items() if value},  # what is not asked for leaves no trace
            }
            yield profile.model_copy(update={"runtimes": [runtime], "threads": [threads]}), condition


def _version(runtime: Component) -> dict[str, str]:
    """A runtime's version from the second on: ids made before versions counted were all of the first."""
    version = RUNTIMES.version(runtime.name)
    return {} if version == "1" else {"version": version}


def _identifying(kind: str, settings: BaseModel | Component) -> dict[str, Any]:
    settings = by_content(settings, f"profile.{kind}")
    full = resolved(settings)
    return {**{key: full[key] for key in _ALWAYS[kind] if key in full}, **deciding(settings)}


_description = cache(describe_device)


def _kernels(runtime: str) -> dict[str, str]:
    """What this process's environment holds the runtime's kernels to; nothing where it holds them to nothing."""
    held = kernels_held_to(runtime, _description())
    return {"kernels": held} if held else {}


def _measure_forward(
    deployable: nn.Module, height: int, width: int, single: ProfileConfig, device: torch.device, *, emulate: bool
) -> dict[str, Any]:
    (fields,) = latency(deployable, height, width, single, artefact="", device=device, emulate=emulate)
    return fields
