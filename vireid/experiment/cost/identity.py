"""Which ids latency records have. They hash the machine: what is measured here is not what is measured elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from vireid.config import ExperimentConfig
from vireid.core.config import Component, deciding, resolved
from vireid.core.files import by_content
from vireid.core.identity import run_id
from vireid.experiment.device import device_of
from vireid.profiling import RUNTIMES
from vireid.profiling.config import ProfileConfig
from vireid.profiling.device import available_cores, describe_device, device_identity

# Keys that an identity holds whatever their value: ids made before others were left out at their defaults had them all.
_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "runtime": ("precision", "channels_last"),
    "budget": ("warmup_seconds", "min_seconds", "min_repeats", "max_seconds", "max_repeats"),
}


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
                "device": _machine(),
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


@cache
def _machine() -> dict[str, Any]:
    return device_identity(describe_device())
