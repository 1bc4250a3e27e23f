"""Tables of ``vireid models --published``: numbers of others, what may share a table, and where they disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from vireid.core.errors import UserError
from vireid.core.published import (
    PublishedRecord,
    disagreements,
    method,
    percent,
    place,
    table_title,
    tables,
)
from vireid.core.records import EvaluationRecord
from vireid.core.table import Table

SortKey = Literal["method", "r1", "mAP", "year"]
_ORDERS: Mapping[SortKey, Callable[[EvaluationRecord], Any]] = {
    "method": lambda record: (method(record).lower(), record.started),
    "r1": lambda record: -record.metrics.get("r1", 0.0),
    "mAP": lambda record: -record.metrics.get("mAP", 0.0),
    "year": lambda record: (not record.started.isdigit(), record.started, method(record).lower()),
}
_MORE = ("r10", "r20", "mINP")  # for pipes alone


def chosen(
    named: Mapping[str, PublishedRecord], dataset: str | None, mode: str | None, *, plain: bool
) -> dict[str, EvaluationRecord]:
    """Accuracies by name: of a dataset, of a mode, and those alone of which it is known that nothing was re-ranked.

    Raises:
        UserError: nothing is left.
    """
    scores = {name: record for name, record in named.items() if isinstance(record, EvaluationRecord)}
    if not scores:
        raise UserError("no published numbers here: they lie in results/published of a checkout")
    left = {
        name: record
        for name, record in scores.items()
        if dataset in (None, record.card.name.partition("/")[0])
        and mode in (None, record.card.mode)
        and (record.card.is_plain or not plain)
    }
    if not left:
        wanted = [f"--dataset {dataset}" * bool(dataset), f"--mode {mode}" * bool(mode), "--plain" * plain]
        raise UserError(f"no published number fits {' '.join(filter(None, wanted))}; leave one of them out")
    return left


def published_tables(
    named: Mapping[str, PublishedRecord], records: Sequence[EvaluationRecord], sort: SortKey
) -> Iterator[Table]:
    """A table per protocol, then every disagreement, then what released code contradicts or leaves open."""
    for title, blocks in tables(records).items():
        yield _scores(title, blocks, sort)
    yield from filter(None, (_disagreements(named, records), _code(records)))


def as_json(records: Mapping[str, EvaluationRecord]) -> list[dict[str, Any]]:
    """Every row with all that is known of it."""
    return [
        {
            "record": name,
            "method": method(record),
            "table": table_title(record),
            "year": record.started,
            "protocol": record.protocol,
            "metrics": record.metrics,
            **record.source.model_dump(mode="json", exclude={"kind"}),
        }
        for name, record in records.items()
    ]


def _scores(title: str, blocks: Mapping[str, Sequence[EvaluationRecord]], sort: SortKey) -> Table:
    table = Table(title)
    table.add_column("test time", "group")
    wrapped = ("checkpoint", "code", "printed in")
    table.add_columns("method", "R1", "mAP", *wrapped, text=("method",), wrap=wrapped)
    table.add_column("source", "note")
    for name in (*_MORE, "year", "protocol", "re-ranking stated", "test time stated", "code does", "bibtex"):
        table.add_column(name, "pipe")
    for block, records in blocks.items():
        for record in sorted(records, key=_ORDERS[sort]):
            table.add_row(block, *_cells(record))
    table.caption = "% on real data, as printed there; never comparable with synthetic results"
    return table


def _cells(record: EvaluationRecord) -> Iterator[str]:
    publication = record.source.publication
    if publication is None:
        raise ValueError(f"{record.id} is no record of results/published")
    check = publication.code
    yield from (method(record), percent(record, "r1"), percent(record, "mAP"), record.card.selection or "not stated")
    yield from (check.verdict, publication.printed_in)
    yield "; ".join(filter(None, (record.source.citation, publication.place, publication.no_table, publication.note)))
    yield from (*(percent(record, metric) for metric in _MORE), record.started, record.card.full_title)
    yield from (publication.states_reranking, publication.states_test_time)
    yield from (": ".join(filter(None, (check.where, check.finding))), publication.paper)


def _disagreements(named: Mapping[str, PublishedRecord], records: Sequence[EvaluationRecord]) -> Table | None:
    table = Table("Disagreements: one method, two numbers")
    table.add_columns(
        "method", "R1", "mAP", "protocol", "printed in", text=("method",), wrap=("protocol", "printed in")
    )
    table.add_column("about", "note")
    pairs = disagreements(named, records)
    for pair in pairs:
        for side in (pair.one, pair.other):
            table.add_row(
                method(side),
                percent(side, "r1"),
                percent(side, "mAP"),
                side.card.without("test_time_augmentation", "shots").full_title,
                place(side),
                pair.about,
            )
        table.add_section()
    return table if pairs else None


def _code(records: Sequence[EvaluationRecord]) -> Table | None:
    table = Table("What released code does otherwise, or leaves open")
    wrapped = ("code", "file", "what it does")
    table.add_columns("method", *wrapped, text=("method",), wrap=wrapped)
    rows: dict[tuple[str, ...], None] = {}
    for record in sorted(records, key=_ORDERS["method"]):
        publication = record.source.publication
        if publication is not None and publication.code.verdict in ("contradicts", "leaves open"):
            check = publication.code
            rows[method(record), check.verdict, check.where, check.finding] = None
    for row in rows:
        table.add_row(*row)
    return table if rows else None
