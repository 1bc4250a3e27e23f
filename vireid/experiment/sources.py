"""Which code made a record, by digest, and whether that code has changed since."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import yaml

from vireid.core.config import Strict, parse
from vireid.core.errors import UserError
from vireid.core.record_row import RecordRow
from vireid.core.records import ComponentStamp, Record
from vireid.core.registry import source_digest
from vireid.experiment.identity import REGISTRIES

# Beside the components that a configuration names: what trains them and what evaluates them, followed through their
# imports. Of the glue between, only the functions that decide a result.
_PARTS = {
    "trainer": (
        "vireid.training.loop",
        "vireid.data.loader",
        "vireid.data.cache",
        "vireid.core.seeding",
        "vireid.experiment.fit:build_model",
        "vireid.experiment.fit:build_weighting",
        "vireid.experiment.data:training_loader",
        "vireid.experiment.data:_loader",
        "vireid.experiment.data:_shuffled",
        "vireid.experiment.data:RedrawnLabels",
        "vireid.experiment.start:initialise_from",
        "vireid.experiment.start:load_teacher",
    ),
    "evaluator": (
        "vireid.evaluation.evaluate",
        "vireid.evaluation.extraction",
        "vireid.evaluation.scorers",
        "vireid.data.loader",
        "vireid.data.cache",
        "vireid.core.seeding",
        "vireid.experiment.fit:with_text",
        "vireid.experiment.data:listed_images",
    ),
    "corruption": ("vireid.data.corruptions.images",),  # of evaluations on corrupted images alone
}
_UNRECORDED = "unrecorded"  # digest of a part that a record is too old to name
_EQUIVALENT = Path(__file__).with_name("equivalent.yaml")


class Equivalent(Strict):
    """Sources of one part that give the same results, and what shows it."""

    part: str
    """Kind and name, such as "model agw"; "evaluator evaluator"."""
    digests: list[str]
    """That records name."""
    same_as: str
    """Digest of the source that the evidence was read with."""
    shown_by: str
    """A test, or why there needs to be none."""


def part_stamp(part: str) -> ComponentStamp:
    """What trains (``trainer``) or evaluates (``evaluator``) now."""
    return ComponentStamp(name=part, version="1", digest=source_digest(*_PARTS[part]))


def stale_parts(records: Iterable[Record | RecordRow]) -> dict[str, list[str]]:
    """By the id of each stale record, its parts whose source differs now and is not declared equivalent.

    A model's cost and latency rest on the model alone. A record that does not name what trained or evaluated it is
    stale in that, too, unless declared. Sources are read once for all records, whose rows say enough.
    """
    same = cache(same_results)
    stale = {}
    for record in records:
        row = record if isinstance(record, RecordRow) else RecordRow.of(record)
        if not row.is_published:
            stale[row.id] = [_label(*stamp) for stamp in _stamps(row) if not same(*stamp)]
    return {run: parts for run, parts in stale.items() if parts}


def _label(kind: str, name: str, digest: str) -> str:
    if digest == _UNRECORDED:
        return f"{kind} (not recorded)"
    return kind if kind == name else f"{kind} {name}"


def same_results(kind: str, name: str, digest: str) -> bool:
    """Whether source of that digest gives the results of what is installed now."""
    try:
        now = source_digest(*_PARTS[kind]) if kind in _PARTS else REGISTRIES[kind].source_digest(name)
    except (UserError, KeyError):
        return False  # neither its kind nor its name means anything any more
    return digest in _as_good_as(f"{kind} {name}", now)


def _stamps(row: RecordRow) -> Iterator[tuple[str, str, str]]:
    resting_on, components = row.kind in ("fit", "evaluation"), row.part("components")
    for kind, stamp in components.items():
        if resting_on or kind == "model":
            yield kind, stamp["name"], stamp["digest"]
    trained = resting_on and row.method is None and not row.part("imported")
    needed = [*(["trainer"] if trained else []), *(["evaluator"] if row.kind == "evaluation" else [])]
    for part in needed:
        if part not in components:
            yield part, part, _UNRECORDED


@cache
def _as_good_as(part: str, now: str) -> frozenset[str]:
    good = {now}
    entries = [entry for entry in equivalents() if entry.part == part]
    while more := {d for entry in entries if entry.same_as in good for d in entry.digests} - good:
        good |= more
    return frozenset(good)


@cache
def equivalents() -> tuple[Equivalent, ...]:
    """What is declared in the one file of declarations."""
    entries = yaml.safe_load(_EQUIVALENT.read_text(encoding="utf-8"))
    return tuple(parse(Equivalent, entry, str(_EQUIVALENT)) for entry in entries)
