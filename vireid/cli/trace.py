"""Pages of ``vireid results show`` and ``vireid results diff``: where a record comes from, and what sets two apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vireid.cli import gallery, show
from vireid.core.messages import DASH, NOT_COMPARABLE, counted, file_name
from vireid.core.table import Kind, Table

if TYPE_CHECKING:
    from vireid.core.records import EvaluationRecord, FitRecord, Record
    from vireid.experiment.differences import Change, Figure
    from vireid.experiment.trace import Remake
    from vireid.store import Store

METRICS = ("r1", "r5", "r10", "r20", "mAP", "mINP")
LONGEST_KEY = 48  # characters: on 80 columns two values of 14 stand beside it


def page(store: Store, record: Record, stale: Sequence[str]) -> Iterator[Table | Text | str]:
    """What ``show`` prints of a record: what it is, how it is made again, its numbers, what decided it."""
    from vireid.experiment.differences import configuration, environment
    from vireid.experiment.trace import planned_in, remake

    yield Text(f"{record.kind} {record.id}, {record.status}", style="bold")
    yield from _origin(record, stale)
    for plan, run in planned_in(store, record):
        yield f"study {plan.name}, cell {run.cell}, seed {run.seed}"
    yield ""
    yield Text("Made again by", style="bold")
    yield from _command(remake(store, record))
    yield ""
    if record.status == "ok":
        yield from _numbers(store, record)
    if record.kind == "evaluation":
        yield settings("Protocol card", record.card.entries)
        yield f"Configuration: that of its fit, `vireid results show {record.fit}`"
        yield ""
    else:
        yield settings("Configuration", configuration(store, record))
    yield settings("Environment", environment(record))


def as_json(store: Store, record: Record, stale: Sequence[str]) -> dict[str, Any]:
    """The same for programs: the record as it is stored, and what is known about it."""
    from vireid.experiment.differences import evaluations_of
    from vireid.experiment.trace import planned_in, remake

    made = remake(store, record)
    return {
        "record": record.model_dump(mode="json"),
        "command": made.command,
        "remark": made.remark,
        "stale": list(stale),
        "studies": [{"study": p.name, "cell": r.cell, "seed": r.seed} for p, r in planned_in(store, record)],
        "evaluations": [e.id for e in evaluations_of(store, record.id)] if record.kind == "fit" else [],
    }


def _origin(record: Record, stale: Sequence[str]) -> Iterator[str]:
    if record.reason:
        yield f"reason: {record.reason}"
    note = f", {NOT_COMPARABLE}" if record.data_kind == "synthetic" else ""
    yield f"{record.data_kind} images{note}"
    if record.source.method is not None:
        paper = f", `{record.source.paper}` in references.bib" if record.source.paper else ""
        yield f"features of {record.source.method}, computed by another program: {record.source.citation}{paper}"
    machine = record.environment.device.get("cpu") or record.environment.platform
    yield f"{record.started} to {record.ended}, on {machine}"
    if stale:
        yield f"stale: changed since it was made: {', '.join(stale)}"


def _command(made: Remake) -> Iterator[Text | str]:
    if made.command is None:
        yield f"  no command: {made.remark}"
        return
    terminal = show.console.is_terminal
    for line in show.pasteable(made.command, show.console.width) if terminal else [f"  {made.command}"]:
        yield Text(line, no_wrap=True)
    if made.remark:
        yield f"  ({made.remark})"


def _numbers(store: Store, record: Record) -> Iterator[Table | str]:
    if record.kind == "fit":
        yield _training(record)
        yield from _evaluations(store, record)
    elif record.kind == "evaluation":
        yield _metrics(record)
    elif record.kind == "cost":
        yield show.cost_table(record)
    elif record.kind == "gallery" or record.kind == "search":
        yield gallery.numbers(record)
    else:
        yield from show.latency_tables([record])
        if record.stages:
            yield show.stages_table(record)
        yield from (f"noted: {note}" for note in record.notes)
        if record.memory_withdrawn:
            yield record.memory_withdrawn
        yield ""


def _training(record: FitRecord) -> Table:
    from vireid.experiment.differences import figures_of

    table = Table("Training" if record.imported is None else "Imported")
    table.add_columns("what", "value", text=("what", "value"))
    if record.imported is not None:
        for name in ("file", "sha256", "source", *([] if record.source.method else ["trained_on"])):
            table.add_row(name.replace("_", " "), getattr(record.imported, name) or "not known")
        for role, count in record.imported.parameters.items():
            table.add_row(f"parameters, {role.replace('_', '-')}", f"{count:,}")
        if "identities" in record.data:
            table.add_row("identities", f"{record.data['identities']}")
        return table
    table.add_row("epochs", str(len(record.curves)))
    for figure in figures_of(record):
        table.add_row(figure.name, f"{_rounded(figure.first)} {figure.unit}".rstrip())
    for term, value in (record.curves[-1].get("terms") or {}).items() if record.curves else ():
        table.add_row(f"term {term}, last epoch", _rounded(value))
    dev = record.curves[-1].get("dev") if record.curves else None
    for name, value in (dev or {}).items():
        if name in METRICS:
            table.add_row(f"{name} on dev, last epoch", f"{100 * value:.1f} %")
    for name in ("images", "identities"):
        if name in record.data:
            table.add_row(f"training {name}", f"{record.data[name]}")
    return table


def _evaluations(store: Store, record: FitRecord) -> Iterator[Table | str]:
    from vireid.experiment.differences import evaluations_of

    evaluations = evaluations_of(store, record.id)
    if not evaluations:
        command = f"vireid evaluate {record.id}" if record.source.method is None else "vireid score FEATURES.npz"
        yield f"Not evaluated in this store: `{command}`"
        return
    table = Table("Evaluations (%)")
    table.add_columns("id", "protocol", "r1", "mAP", "mINP", text=("id",), wrap=("protocol",))
    for evaluation in evaluations:
        file = "" if evaluation.artefact is None else f", {file_name(evaluation.artefact)} file"
        scores = (_percent(evaluation.metrics.get(name)) for name in ("r1", "mAP", "mINP"))
        table.add_row(evaluation.id, evaluation.card.full_title + file, *scores)
    yield table


def _metrics(record: EvaluationRecord) -> Table:
    table = Table(f"{record.card.full_title} (%)")
    table.add_columns("metric", "value", "from", "to", "sd", text=("metric",))
    for name, value in record.metrics.items():
        ends = record.intervals.get(name)
        low, high = (None, None) if ends is None else (ends.low, ends.high)
        table.add_row(name, *(_percent(number) for number in (value, low, high, record.spread.get(name))))
    notes = [f"sd: over {counted(len(record.per_trial), 'trial')} of random galleries"] if record.spread else []
    if record.intervals:
        first = next(iter(record.intervals.values()))
        notes.append(f"from … to: {100 * first.level:.0f} % interval over {first.over}, not over training")
    table.caption = "\n".join(notes)
    return table


def put(piece: Table | Text | str) -> None:
    """Print a piece of a page: a table, a heading, a sentence, or a command, which a terminal must not break."""
    if isinstance(piece, Table):
        show.console.print(piece)
    elif isinstance(piece, Text):
        show.remark(piece.plain, style=piece.style, soft_wrap=bool(piece.no_wrap))
    else:
        show.remark(piece)


def settings(title: str, tree: Mapping[str, Any]) -> Table:
    """Nested settings as dotted keys with their values."""
    from vireid.experiment.differences import flat

    table = Table(title)
    table.add_column("key", _kind_of_keys(flat(tree)))
    table.add_column("value", "path")
    for key, value in flat(tree).items():
        table.add_row(key, _value(value))
    return table


def difference_tables(
    store: Store, first: Record, second: Record, stale: Mapping[str, Sequence[str]]
) -> Iterator[Table | str]:
    """What ``diff`` prints: configuration, environment, and the numbers side by side.

    Raises:
        UserError: records of unlike kinds.
    """
    from vireid.experiment.differences import changes, configuration, environment, figures

    numbers = figures(first, second, store)
    for name, record in (("A", first), ("B", second)):
        old = f", stale ({', '.join(stale[record.id])})" if record.id in stale else ""
        yield f"{name}: {record.kind} {record.id}, {record.ended}{old}"
    yield ""
    yield from changed("Configuration", changes(configuration(store, first), configuration(store, second)))
    yield from changed("Environment", changes(environment(first), environment(second)))
    yield numbers_table(numbers)
    if _fingerprints(store, first) != _fingerprints(store, second):
        yield "The images differ as well, so that a difference is of images and runs together."
    elif first.kind in ("fit", "evaluation"):
        yield f"With an interval over test identities: vireid compare {first.id} {second.id}"


def _fingerprints(store: Store, record: Record) -> set[str | None]:
    from vireid.experiment.differences import evaluations_of

    if record.kind == "fit":
        return {evaluation.fingerprint for evaluation in evaluations_of(store, record.id)}
    return {record.fingerprint} if record.kind == "evaluation" else set()


def changed(title: str, differing: Sequence[Change]) -> Iterator[Table | str]:
    """Keys in which two records differ."""
    if not differing:
        yield from (f"{title}: no difference", "")
        return
    table = Table(f"{title}: {counted(len(differing), 'difference')}")
    table.add_column("key", _kind_of_keys([key for key, _, _ in differing]))
    table.add_column("A", "path")
    table.add_column("B", "path")
    for key, one, other in differing:
        table.add_row(key, _value(one), _value(other))
    yield table


def _kind_of_keys(keys: Iterable[str]) -> Kind:
    """Keys stay whole, to be copied into a command, while they leave room for two values on 80 columns."""
    return "text" if max(map(len, keys), default=0) <= LONGEST_KEY else "path"


def numbers_table(numbers: Sequence[Figure]) -> Table:
    """Numbers of two records and their differences."""
    table = Table("Numbers")
    table.add_column("of", "group")
    table.add_columns("", "A", "B", "B − A", "unit", text=("", "unit"))
    for figure in numbers:
        change = DASH if figure.difference is None else _signed(figure.difference)
        table.add_row(figure.group, figure.name, _rounded(figure.first), _rounded(figure.second), change, figure.unit)
    return table


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"


def _rounded(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 1000 else f"{value:+.0f}"
