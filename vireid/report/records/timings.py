"""Latencies as they may be compared: forward passes of one graph, pooled where everything they share agrees."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from vireid.core.contribution import Contribution
from vireid.core.environment import MACHINE_IDENTITY
from vireid.core.identity import run_id
from vireid.core.messages import file_name
from vireid.core.records import LatencyRecord
from vireid.report.records.keys import OWN_PROCESS, TimingKey, device_label, grouped, machine_digest, runtime_label


@dataclass(frozen=True)
class Timing:
    """Forward passes of one graph in one runtime at one batch size, on one machine in one mode."""

    records: tuple[LatencyRecord, ...]
    key: TimingKey

    @property
    def first(self) -> LatencyRecord:
        """A record of it, for what all of them share."""
        return self.records[0]

    @property
    def graph(self) -> str:
        """Digest of the deployed graph."""
        return self.first.artefact

    @property
    def batch(self) -> int:
        """Images per forward pass."""
        return self.first.batch

    @property
    def precision(self) -> str:
        """Such as fp32 or int8."""
        return self.first.precision

    @property
    def resolution(self) -> str:
        """``height×width`` in pixels."""
        height, width = self.first.resolution
        return f"{height}×{width}"

    @property
    def runtime_name(self) -> str:
        """The runtime without settings and precision."""
        return str(self.first.runtime.get("name", "unnamed runtime"))

    @property
    def runtime(self) -> str:
        """Runtime, settings and precision."""
        return f"{runtime_label(self.first.runtime)} {self.precision}"

    @property
    def short(self) -> str:
        """Runtime and precision, without settings but those of int8."""
        return file_name(self.first)

    @property
    def runtime_in_mode(self) -> str:
        """The runtime with its settings and, where it is not the usual one, the mode of measuring."""
        name, _, settings = runtime_label(self.first.runtime).partition(" (")
        mode = self.key.way.removeprefix(OWN_PROCESS).removeprefix(", ")
        details = ", ".join(filter(None, [settings.removesuffix(")"), mode]))
        return f"{name} ({details})" if details else name

    @property
    def condition(self) -> tuple[object, ...]:
        """What timings of unlike graphs must share to be compared one by one; the machine goes by its digest."""
        record = self.first
        measured = run_id(record.runtime), record.precision, record.batch, tuple(record.resolution)
        return (*self.key.condition, *measured)

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """Raw samples, each of one forward of ``batch`` images."""
        return tuple(second for record in self.records for second in record.seconds)

    @property
    def median(self) -> float:
        """Median of the samples, in seconds."""
        return statistics.median(self.seconds)

    def ms(self, percentile: float) -> float:
        """A percentile of the samples, in milliseconds (linear interpolation)."""
        return 1e3 * float(np.percentile(self.seconds, percentile))

    @property
    def load_seconds(self) -> float | None:
        """From the file to the first answer; the slowest of the pooled measurements."""
        return max((r.load_seconds for r in self.records if r.load_seconds is not None), default=None)

    @property
    def size_bytes(self) -> int | None:
        """Of the file that was loaded."""
        return max((r.size_bytes for r in self.records if r.size_bytes is not None), default=None)

    @property
    def rss_bytes(self) -> int | None:
        """Highest resident memory of the process."""
        return max((r.rss_bytes for r in self.records if r.rss_bytes is not None), default=None)

    @property
    def artefact_memory(self) -> int | None:
        """Highest memory that the artefact adds to an empty runtime."""
        return max((r.artefact_memory for r in self.records if r.artefact_memory is not None), default=None)

    @property
    def joules_per_image(self) -> float | None:
        """Energy of the whole processor or board."""
        joules = [r.joules_per_image for r in self.records if r.joules_per_image is not None]
        return float(np.mean(joules)) if joules else None

    @property
    def notes(self) -> list[str]:
        """What the profiler remarked on its own measurement, such as a busy machine."""
        return list(dict.fromkeys(note for record in self.records for note in record.notes))

    def peak(self, name: str) -> float | None:
        """``gflops`` or ``bandwidth`` (GB/s): the best that this machine reached at these threads."""
        return max((float(r.peaks[name]["value"]) for r in self.records if name in r.peaks), default=None)


@dataclass(frozen=True)
class TimingBlock:
    """Timings of a study's cells that share everything but the graph."""

    timings: Mapping[str, Timing]  # by cell, in the order of the plan; cells with one graph share a timing

    @property
    def first(self) -> Timing:
        """A timing of it, for what all of them share."""
        return next(iter(self.timings.values()))

    @property
    def order(self) -> tuple[str | int, ...]:
        """What blocks are sorted by: machine, runtime, batch; of other resolutions alone, as their records come."""
        first, records = self.first, [record.id for timing in self.timings.values() for record in timing.records]
        runtime = run_id(first.first.runtime)
        shown = first.key.device, first.runtime_in_mode, first.precision, first.key.threads
        return (*shown, runtime, first.batch, min(records))

    @property
    def setup(self) -> str:
        """Everything but the batch."""
        timing = self.first
        return (
            f"{timing.runtime_in_mode}, {timing.precision}, {timing.key.threads_label}, {timing.resolution} pixels, "
            f"{timing.key.device}"
        )

    def __str__(self) -> str:
        return f"batch {self.first.batch}, {self.setup}"


def timings(records: Iterable[LatencyRecord], names: Mapping[str, str] | None = None) -> list[Timing]:
    """Finished forward passes, pooled where graph and condition agree; ``names`` of machines as in ``TimingKey.of``.

    Records of a whole query, from a file to a ranked list, are no forward passes.
    """
    passes = [r for r in records if r.status == "ok" and r.seconds and not r.stages]
    single = (Timing((record,), TimingKey.of(record, names)) for record in passes)
    groups = grouped(single, lambda t: (t.key, t.graph, t.condition))
    pooled = [Timing(tuple(t.first for t in group), group[0].key) for group in groups.values()]
    return sorted(pooled, key=lambda t: (t.key, t.first.resolution, t.graph, t.runtime, t.batch))


def contributed_timings(digest: str, contribution: Contribution, taken: Collection[str] = ()) -> list[Timing]:
    """Forward passes of a contributed file, under a machine of its own: pooled with those of no other file.

    Args:
        digest: that names the file.
        contribution: its content.
        taken: names of other machines; one that is among them gets the digest's first digits.
    """
    made = []
    for timing in timings(contribution.measured):
        name = f"{timing.key.device}, measured by {contribution.contributor}"
        name = f"{name}, {digest[:6]}" if name in taken else name
        machine = run_id([timing.key.machine, digest])
        made.append(Timing(timing.records, replace(timing.key, device=name, machine=machine, contribution=digest)))
    return made


def machine_names(records: Iterable[LatencyRecord]) -> dict[str, str]:
    """Name of every machine by its digest; machines of one label get what they differ in as well."""
    machines = {machine_digest(record.environment): record.environment for record in records}
    labels = {key: device_label(environment) for key, environment in machines.items()}
    names = {}
    for key, label in labels.items():
        alike = [machines[other].device for other in machines if labels[other] == label]
        difference = _difference(machines[key].device, alike)
        names[key] = f"{label} ({difference})" if difference else label
    return names


def _difference(device: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """The first fields of a machine's identity that distinguish every two of ``alike``; empty for one alone."""
    fields: list[str] = []
    for name in MACHINE_IDENTITY:
        if len({repr([other.get(field) for field in fields]) for other in alike}) == len(alike):
            break
        if len({repr(other.get(name)) for other in alike}) > 1:
            fields.append(name)
    return "; ".join(_field(name, device.get(name), [other.get(name) for other in alike]) for name in fields)


def _field(name: str, value: object, others: Sequence[object]) -> str:
    """A field as a phrase; of instruction sets those that not all of the others have."""
    if name == "cpu_family_model_stepping" and isinstance(value, list):
        return f"family {value[0]}, model {value[1]}, stepping {value[2]}"
    if name == "isa" and isinstance(value, list):
        further = [flag for flag in value if not all(isinstance(o, list) and flag in o for o in others)]
        return f"with {' '.join(further)}" if further else "with no further instructions"
    return f"{name.replace('_', ' ')} {value}"
