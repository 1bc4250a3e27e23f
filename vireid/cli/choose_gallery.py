"""What ``vireid choose --gallery`` prints: network, precision and gallery storage chosen together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vireid.cli.show import console, remark
from vireid.core.errors import UserError
from vireid.core.messages import DASH
from vireid.core.table import Either, Table

if TYPE_CHECKING:
    from vireid.core.records import Record
    from vireid.report.records.choose import Accuracy, Deployable
    from vireid.report.records.floor import Floor
    from vireid.report.records.galleries import Retrieval, RetrievalChoice
    from vireid.report.records.keys import AccuracyKey, TimingKey

_SIZES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TIMES = {"ms": 1.0, "s": 1e3}


def parse_size(text: str) -> float:
    """Bytes of ``200MB`` and the like; ``MB`` is a million, ``MiB`` 2²⁰.

    Raises:
        UserError: not a size.
    """
    return _quantity(text, _SIZES, "--memory", "200MB or 1GB")


def parse_time(text: str) -> float:
    """Milliseconds of ``50ms`` or ``0.2s``.

    Raises:
        UserError: not a time.
    """
    return _quantity(text, _TIMES, "--latency", "50ms or 0.2s")


def _quantity(text: str, units: dict[str, float], option: str, example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in units or float(match[1]) == 0:
        raise UserError(f"{option} {text}: give a number with its unit, such as {example}")
    return float(match[1]) * units[match[2]]


def choose_with_gallery(
    deployables: Sequence[Deployable],
    records: Sequence[Record],
    protocol: str | None,
    timed: TimingKey,
    rows: int,
    limits: tuple[float | None, float | None],
    keep: tuple[float, str | None] | None,
) -> tuple[RetrievalChoice, AccuracyKey, Floor | None]:
    """The choice among networks with their galleries, what their accuracies share, and the floor.

    ``protocol`` is a part of its title; ``limits`` are milliseconds and bytes.

    Raises:
        UserError: no candidate has both an accuracy and a search time with its gallery.
    """
    from vireid.report.records.floor import floor_of
    from vireid.report.records.galleries import choose_retrieval, gallery_key, retrievals

    key = gallery_key(deployables, records, timed, protocol)
    found = [] if key is None else retrievals(deployables, records, key, timed, rows)
    if key is None or not found:
        raise UserError(
            f"--gallery {rows}: on {timed} no network has the accuracy of a stored gallery and the time of a search in "
            "so many rows: run `vireid gallery RUN` for its fits on that machine, with --deployed for int8 files"
        )
    exact = [one.deployable for one in found if one.storage == "fp32"]
    floor = None if keep is None else floor_of(exact, *keep)
    return choose_retrieval(found, *limits, floor), key, floor


def show_retrieval(choice: RetrievalChoice, timed: TimingKey, key: AccuracyKey, floor: Floor | None) -> None:
    """Print the pick, the runner-up and the front, then what was counted."""
    best, rows = choice.best, choice.considered[0].rows
    console.print(_table(choice, timed, key, floor))
    lines = []
    if best is None:
        lines.append(f"Nothing fits all limits: {_misses(choice)}")
    else:
        lines.append(_sentence(best, choice, floor))
        if best.on_test is not None:
            lines.append(f"On test identities, which chose nothing: mAP {_percent(best.on_test)}.")
        elif key.card.split == "test":
            lines.append("Chosen by test identities: the chosen score is the highest of several and leans upwards.")
        if best.preprocess_seconds is None:
            lines.append("Preprocessing was not measured there and is not counted: `vireid profile … --stages`.")
        if not best.search.is_measured(rows):
            lines.append(f"The search in {rows} rows lies between sizes that were measured.")
    lines.append("Accuracy is that of the protocol's gallery; a gallery of other rows has other people to confuse.")
    for line in lines:
        remark(line)
    for command in best.deployable.commands if best is not None else []:
        remark(f"  {command}", soft_wrap=True, style="bold")


def _sentence(best: Retrieval, choice: RetrievalChoice, floor: Floor | None) -> str:
    memory = "memory not measured" if best.memory_bytes is None else f"{best.memory_bytes / 1e6:.1f} MB"
    what = "the most accurate" if floor is None else "the fastest that keeps the floor"
    kept = f" Floor: {floor}." if floor is not None else ""
    doubt = ""
    if floor is not None and floor.doubtful(best.accuracy):
        doubt = " Its interval reaches below the floor (marked ?): the data do not show that it keeps it."
    return (
        f"{best}: mAP {_percent(best.accuracy)} at {best.ms():.2f} ms a query, {memory} with {best.rows} rows, is "
        f"{what} of {len(choice.fitting)} within the limits, {len(choice.considered)} considered.{kept}{doubt}"
    )


def _misses(choice: RetrievalChoice) -> str:
    fastest = min(choice.considered, key=lambda one: one.ms())
    known = [(one.memory_bytes, one) for one in choice.considered if one.memory_bytes is not None]
    least = min(known, key=lambda pair: pair[0], default=None)
    memory = (
        "memory of no file was measured (`vireid profile profile=isolated --again`)"
        if least is None
        else f"memory at least {least[0] / 1e6:.1f} MB, of {least[1]}"
    )
    return f"latency at least {fastest.ms():.2f} ms, of {fastest}; {memory}."


def _percent(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.mean_ap:.1f} % {accuracy.interval}".rstrip()


def _table(choice: RetrievalChoice, timed: TimingKey, key: AccuracyKey, floor: Floor | None) -> Table:
    """Pick, runner-up and front; a pipe gets every candidate."""
    rows = choice.considered[0].rows
    goal = "Most accurate" if floor is None else "Fastest above the floor"
    table = Table(f"{goal} within the limits, {rows} gallery rows\non {timed}\n{key.title}")
    table.caption = "\n".join(filter(None, ["ms: network, preprocessing where measured, search", key.note]))
    table.add_column("choice", "group")
    table.add_columns("model", "file", "gallery", "ms", "MB", "mAP %", text=("file", "gallery"), wrap=("model",))
    for name in ("low", "high", "network ms", "preprocess ms", "search ms", "gallery MB", "exceeds", "fits"):
        table.add_column(name, "pipe")
    named = [(one, label) for one, label in ((choice.best, "the pick"), (choice.runner_up, "the runner-up")) if one]
    others = [one for one in choice.front if one not in [known for known, _ in named]]
    named += [(one, "on the front, over the limits" if choice.exceeded(one) else "also on the front") for one in others]
    if not console.is_terminal:
        shown = [one for one, _ in named]
        named += [(one, "behind the front") for one in choice.considered if one not in shown]
    for one, label in named:
        table.add_row(label, *_cells(one, choice, floor), style="bold green" if one is choice.best else None)
    return table


def _cells(one: Retrieval, choice: RetrievalChoice, floor: Floor | None) -> list[str | Either]:
    accuracy, mark = one.accuracy, "?" if floor is not None and floor.doubtful(one.accuracy) else ""
    score = f"{100 * accuracy.mean_ap:.1f}"
    return [
        one.deployable.label,
        Either(one.deployable.timing.short, one.deployable.timing.runtime),
        one.storage,
        f"{one.ms():.2f}",
        DASH if one.memory_bytes is None else f"{one.memory_bytes / 1e6:.1f}",
        Either(f"{score}{mark}", score),
        *(DASH if end is None else f"{100 * end:.1f}" for end in (accuracy.low, accuracy.high)),
        f"{one.deployable.timing.ms(50):.2f}",
        DASH if one.preprocess_seconds is None else f"{1e3 * one.preprocess_seconds:.2f}",
        f"{one.search_ms:.3f}",
        f"{one.gallery_bytes / 1e6:.1f}",
        "; ".join(choice.exceeded(one)),
        ",".join(accuracy.fits),
    ]


def retrieval_json(choice: RetrievalChoice, timed: TimingKey, key: AccuracyKey, floor: Floor | None) -> dict[str, Any]:
    """The choice for programs."""
    return {
        "place": {"device": timed.device, "way": timed.mode, "threads": timed.threads},
        "protocol": key.title,
        "note": key.note,
        "limits": {"ms": choice.max_ms, "bytes": choice.max_bytes},
        "floor": None if floor is None else {"mAP": floor.value, "share": floor.share, "reference": floor.reference},
        "best": None if choice.best is None else _entry(choice.best, choice, floor),
        "runner_up": None if choice.runner_up is None else _entry(choice.runner_up, choice, floor),
        "commands": [] if choice.best is None else choice.best.deployable.commands,
        "candidates": [_entry(one, choice, floor) for one in choice.considered],
    }


def _entry(one: Retrieval, choice: RetrievalChoice, floor: Floor | None) -> dict[str, Any]:
    accuracy = one.accuracy
    return {
        "model": one.deployable.label,
        "runtime": one.deployable.timing.first.runtime,
        "precision": one.deployable.precision,
        "storage": one.storage,
        "library": one.search.library,
        "rows": one.rows,
        "ms": one.ms(),
        "network_ms": one.deployable.timing.ms(50),
        "preprocess_ms": None if one.preprocess_seconds is None else 1e3 * one.preprocess_seconds,
        "search_ms": one.search_ms,
        "search_measured": one.search.is_measured(one.rows),
        "gallery_bytes": one.gallery_bytes,
        "memory_bytes": one.memory_bytes,
        "mAP": accuracy.mean_ap,
        "mAP_interval": None if accuracy.low is None else [accuracy.low, accuracy.high],
        "mAP_on_test": None if one.on_test is None else one.on_test.mean_ap,
        "below_floor": floor is not None and not floor.keeps(accuracy),
        "interval_reaches_below_floor": floor is not None and floor.doubtful(accuracy),
        "on_front": one in choice.front,
        "exceeds": choice.exceeded(one),
    }
