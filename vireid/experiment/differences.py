"""What sets two records apart: what decided them, what they ran on, and their numbers side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireid.core.config import canonical_json
from vireid.core.errors import UserError
from vireid.core.messages import file_name
from vireid.core.protocol_card import COUNTS
from vireid.core.records import CostRecord, EvaluationRecord, FitRecord, GalleryRecord, Record, SearchRecord
from vireid.store import Store

Change = tuple[str, Any, Any]  # a dotted key with its two values; ABSENT where one side has none
Named = tuple[str, str, str]  # group, name and unit of a number
ABSENT = "–"


@dataclass(frozen=True)
class Figure:
    """One measured number of two records."""

    group: str
    """Protocol, or empty."""
    name: str
    unit: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """Second − first."""
        return None if self.first is None or self.second is None else self.second - self.first


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay values."""
    entries: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            entries |= flat(value, f"{prefix}{key}.")
        else:
            entries[f"{prefix}{key}"] = value
    return entries


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Change]:
    """The dotted keys in which two trees differ, with both values."""
    one, other = flat(first), flat(second)
    keys = list(dict.fromkeys([*one, *other]))
    pairs = [(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys]
    return [(key, a, b) for key, a, b in pairs if canonical_json(a) != canonical_json(b)]


def configuration(store: Store, record: Record) -> dict[str, Any]:
    """What decided a record, as far as it says: its own settings, and those of its fit."""
    if isinstance(record, FitRecord):
        return record.config
    if isinstance(record, EvaluationRecord):
        fit = store.get(record.fit)
        return {**(fit.config if isinstance(fit, FitRecord) else {}), "protocol": record.card.without(*COUNTS).entries}
    if isinstance(record, CostRecord):
        return {"model": record.model, "resolution": list(record.resolution), "classes": record.num_classes}
    if isinstance(record, GalleryRecord):
        return {"fit": record.fit, "storage": record.storage, "protocol": record.card.without(*COUNTS).entries}
    if isinstance(record, SearchRecord):
        fields: tuple[str, ...] = ("storage", "features", "rows", "top", "library", "library_version", "threads")
        return {name: value for name, value in record.model_dump(mode="json").items() if name in fields}
    fields = ("artefact", "runtime", "precision", "batch", "resolution", "threads", "isolated", "limit", "affinity")
    return {name: value for name, value in record.model_dump(mode="json").items() if name in fields}


def environment(record: Record) -> dict[str, Any]:
    """Software, machine and code of a record."""
    stamps = {kind: f"{stamp.name} {stamp.version}, source {stamp.digest}" for kind, stamp in record.components.items()}
    return {**record.environment.model_dump(mode="json"), "components": stamps}


def evaluations_of(store: Store, fit: str) -> list[EvaluationRecord]:
    """A fit's finished evaluations, those of its files last."""
    every = store.records(lambda row: row.kind == "evaluation" and row.fit == fit and row.status == "ok")
    finished = [record for record in every if isinstance(record, EvaluationRecord)]
    return sorted(finished, key=lambda record: (record.artefact is not None, record.card.full_title, record.id))


def figures(first: Record, second: Record, store: Store) -> list[Figure]:
    """The numbers of two records of one kind, side by side; of fits those of their evaluations too.

    Raises:
        UserError: they are of unlike kinds.
    """
    if first.kind != second.kind:
        raise UserError(
            f"{first.id} is a record of kind '{first.kind}', {second.id} of kind '{second.kind}'; name two of one kind"
        )
    sides = [_numbers(record, store) for record in (first, second)]
    return [
        Figure(group, name, unit, *(side.get((group, name, unit)) for side in sides))
        for group, name, unit in dict.fromkeys([*sides[0], *sides[1]])
    ]


def figures_of(record: FitRecord) -> list[Figure]:
    """What a fit's training took and ended with."""
    return [Figure(group, name, unit, value, None) for (group, name, unit), value in _training(record).items()]


def _numbers(record: Record, store: Store) -> dict[Named, float]:
    if isinstance(record, FitRecord):
        scores: dict[Named, float] = {}
        for evaluation in evaluations_of(store, record.id):
            scores |= _scores(evaluation)
        return {**scores, **_training(record)}
    if isinstance(record, EvaluationRecord):
        return _scores(record)
    if isinstance(record, CostRecord):
        costs = {("", f"parameters, {role.replace('_', '-')}", "M"): n / 1e6 for role, n in record.parameters.items()}
        return costs if record.macs is None else {**costs, ("", "MACs", "G"): record.macs / 1e9}
    if isinstance(record, GalleryRecord):
        return {(record.card.full_title, name, "%"): 100 * value for name, value in record.metrics.items()}
    times = [float(t) for t in np.percentile(record.seconds, [50, 90, 99])] if record.seconds else []
    return {("", f"p{p}", "ms"): 1e3 * time for p, time in zip((50, 90, 99), times, strict=False)}


def _training(record: FitRecord) -> dict[Named, float]:
    step = float(np.median(record.step_seconds)) if record.step_seconds else None
    memory = record.peak_memory_bytes
    values = {
        "time": ("s", record.seconds),
        "step, median": ("ms", None if step is None else 1e3 * step),
        "peak memory": ("MB", None if memory is None else memory / 1e6),
        "loss of the last epoch": ("", record.curves[-1].get("loss") if record.curves else None),
    }
    return {("training", name, unit): float(value) for name, (unit, value) in values.items() if value is not None}


def _scores(record: EvaluationRecord) -> dict[Named, float]:
    file = "" if record.artefact is None else f", {file_name(record.artefact)} file"
    group = record.card.full_title + file
    return {(group, name, "%"): 100 * value for name, value in record.metrics.items()}
