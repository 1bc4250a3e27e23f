"""Latencies as they may be compared: by graph, runtime, and the place where they were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.environment import MACHINE_IDENTITY
from vireid.core.identity import run_id
from vireid.core.records import LatencyRecord
from vireid.report.load import device_label, machine_key, ways_of
from vireid.report.runtimes import runtime_label

OWN_PROCESS = "in the profiler's process"


@dataclass(frozen=True, order=True)
class Place:
    """What latencies must share to stand side by side: the machine, the way of measuring and the threads."""

    device: str  # in words
    way: str  # a limit's name, "isolated" or OWN_PROCESS; sustained runs say so
    threads: int
    machine: str  # digest of the machine's identity
    cores: int | None = None  # of the machine
    accelerator: str = "cpu"

    @property
    def heading(self) -> str:
        """Threads and way, in words."""
        return f"{self.threads} thread{'s' if self.threads != 1 else ''}, {self.way}"

    def __str__(self) -> str:
        return f"{self.device}, {self.heading}"


def place_of(record: LatencyRecord, names: Mapping[str, str] | None = None) -> Place:
    """Where, and in which way, a latency was measured; ``names`` of machines as ``machine_names`` gives them."""
    first, *more = ways_of(record)
    machine = machine_key(record.environment)
    return Place(
        device=(names or {}).get(machine) or device_label(record.environment),
        way=", ".join(filter(None, [first or OWN_PROCESS, *more])),
        threads=record.threads,
        machine=machine,
        cores=record.environment.device.get("logical_cores"),
        accelerator=record.environment.accelerator,
    )


def machine_names(records: Iterable[LatencyRecord]) -> dict[str, str]:
    """Name of every machine by its digest; machines of one label are told apart by what they differ in."""
    machines = {machine_key(record.environment): record.environment for record in records}
    labels = {key: device_label(environment) for key, environment in machines.items()}
    names = {}
    for key, label in labels.items():
        alike = {other: machines[other].device for other in machines if labels[other] == label}
        words = _apart(machines[key].device, list(alike.values()))
        names[key] = f"{label} ({words})" if words else label
    return names


def _apart(device: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """The first fields of a machine's identity that tell every two of ``alike`` apart; empty for one alone."""
    fields: list[str] = []
    for name in MACHINE_IDENTITY:
        if len({repr([other.get(field) for field in fields]) for other in alike}) == len(alike):
            break
        if len({repr(other.get(name)) for other in alike}) > 1:
            fields.append(name)
    return "; ".join(_words(name, device.get(name), [other.get(name) for other in alike]) for name in fields)


def _words(name: str, value: object, others: Sequence[object]) -> str:
    """A field in words; of instruction sets those that not all of the others have."""
    if name == "cpu_family_model_stepping" and isinstance(value, list):
        return f"family {value[0]}, model {value[1]}, stepping {value[2]}"
    if name == "isa" and isinstance(value, list):
        own = [flag for flag in value if not all(isinstance(o, list) and flag in o for o in others)]
        return f"with {' '.join(own)}" if own else "with no further instructions"
    return f"{name.replace('_', ' ')} {value}"


@dataclass(frozen=True)
class Timing:
    """Forward passes of one graph in one runtime at one place; ``records`` with equal conditions are pooled."""

    records: tuple[LatencyRecord, ...]
    place: Place
    seconds: tuple[float, ...]  # raw, per forward of ``batch`` images

    @property
    def first(self) -> LatencyRecord:
        """A record of it, for what all of them share."""
        return self.records[0]

    @property
    def graph(self) -> str:
        """Digest of the deployed graph."""
        return self.first.artefact

    @property
    def runtime(self) -> str:
        """Runtime, settings and precision, in words."""
        return f"{runtime_label(self.first.runtime)} {self.first.precision}"

    @property
    def short(self) -> str:
        """Runtime and precision, without settings."""
        return f"{self.first.runtime.get('name', 'unnamed runtime')} {self.first.precision}"

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
    def joules_per_image(self) -> float | None:
        """Energy of the whole processor or board."""
        found = [r.joules_per_image for r in self.records if r.joules_per_image is not None]
        return float(np.mean(found)) if found else None

    @property
    def notes(self) -> list[str]:
        """What the profiler remarked on its own measurement, such as a busy machine."""
        return list(dict.fromkeys(note for record in self.records for note in record.notes))

    def peak(self, name: str) -> float | None:
        """``gflops`` or ``bandwidth`` (GB/s): the best that this machine reached at these threads."""
        found = [r.peaks[name]["value"] for r in self.records if name in r.peaks]
        return max(map(float, found), default=None)


def timings(records: Iterable[LatencyRecord], names: Mapping[str, str] | None = None) -> list[Timing]:
    """Finished forward passes, pooled where graph, runtime, precision, batch, resolution and place all agree."""
    groups: dict[tuple[object, ...], list[LatencyRecord]] = {}
    for record in records:
        if record.status == "ok" and record.seconds and not record.stages:
            groups.setdefault((place_of(record, names), *condition_key(record)), []).append(record)
    found = [
        Timing(tuple(own), place_of(own[0], names), tuple(second for record in own for second in record.seconds))
        for own in groups.values()
    ]
    return sorted(found, key=lambda t: (t.place, t.first.resolution, t.graph, t.runtime, t.first.batch))


def condition_key(record: LatencyRecord) -> tuple[object, ...]:
    """What pooled records share beside their place."""
    return record.artefact, run_id(record.runtime), record.precision, record.batch, tuple(record.resolution)


def by_place(found: Sequence[Timing]) -> dict[Place, list[Timing]]:
    """Timings place by place; unlike machines and ways of measuring never share an entry."""
    groups: dict[Place, list[Timing]] = {}
    for timing in found:
        groups.setdefault(timing.place, []).append(timing)
    return groups
