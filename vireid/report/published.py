"""Published numbers with their citations, in tables of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vireid.core.errors import UserError
from vireid.core.records import CostRecord, EvaluationRecord, Record, read_record
from vireid.core.shipped import shipped
from vireid.report.html import Column, Content, Fragment, Rows, join, paragraph, table
from vireid.report.load import METRICS
from vireid.report.protocols import protocol_title, reranking_label

PUBLISHED = shipped("results/published")
_DASH = "–"


def published_records(folder: Path = PUBLISHED) -> list[EvaluationRecord | CostRecord]:
    """Published accuracies and costs in order of file name; none where the folder is absent.

    Raises:
        UserError: a file is not a record, or does not say where its number comes from.
    """
    found: list[EvaluationRecord | CostRecord] = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path.read_bytes(), str(path))
        if record.source.kind != "published" or not record.source.citation:
            raise UserError(f"{path}: a published record needs source.kind 'published' and a citation")
        if isinstance(record, EvaluationRecord | CostRecord):
            found.append(record)
    return found


def published_section(records: Sequence[Record]) -> Fragment:
    """Accuracies, protocol by protocol, and costs. Never given a measured record.

    Raises:
        ValueError: a record was measured.
    """
    if measured := [record.id for record in records if record.source.kind != "published"]:
        raise ValueError(f"measured records share no table with published ones: {', '.join(measured)}")
    scores = [record for record in records if isinstance(record, EvaluationRecord)]
    costs = [record for record in records if isinstance(record, CostRecord)]
    if not scores and not costs:
        return paragraph("No published numbers here: they lie in results/published of a checkout.", class_="absent")
    return join([*([_scores(scores)] if scores else []), *([_costs(costs)] if costs else [])])


def _scores(records: Sequence[EvaluationRecord]) -> Fragment:
    shown = [metric for metric in METRICS if any(metric in record.metrics for record in records)]
    columns = [
        Column("Method", text=True),
        *(Column(metric.upper() if metric[0] == "r" else metric, "%") for metric in shown),
    ]
    columns += [Column("Checkpoint", text=True), Column("Source", text=True)]
    blocks: dict[str, list[list[Content]]] = {}
    for record in sorted(records, key=lambda r: (not _place(r)[0].startswith("sysu"), _place(r), _method(r).lower())):
        values = [_percent(record.metrics[m]) if m in record.metrics else _DASH for m in shown]
        selection = str(record.protocol.get("selection") or "not stated")
        rows = blocks.setdefault(", ".join(_place(record)), [])
        rows.append([_method(record), *values, selection, record.source.citation or ""])
    caption = (
        "Published accuracies, as their authors report them on real data. They share no table with measured numbers, "
        "and none of them is comparable with a synthetic one."
    )
    return table(columns, [Rows(heading, rows) for heading, rows in blocks.items()], caption)


def _percent(value: float) -> str:
    """With two decimals where the source has them."""
    text = f"{100 * value:.2f}"
    return text.removesuffix("0")


def _place(record: EvaluationRecord) -> tuple[str, str]:
    """Protocol and re-ranking: what published numbers must share to stand below each other."""
    return protocol_title(record.protocol), reranking_label(record.protocol)


def _method(record: Record) -> str:
    stamp = record.components.get("model")
    return "not named" if stamp is None else stamp.name


def _costs(records: Sequence[CostRecord]) -> Fragment:
    columns = [Column("Method", text=True), Column("Params", "M"), Column("MACs", "G per image"), Column("Pixels")]
    columns += [Column("Convention", text=True), Column("Source", text=True)]
    rows: list[list[Content]] = []
    for record in sorted(records, key=lambda r: (_method(r).lower(), r.resolution)):
        parameters, (height, width) = record.parameters.get("deployed"), record.resolution
        rows.append(
            [
                _method(record),
                _DASH if parameters is None else f"{parameters / 1e6:.2f}",
                _DASH if record.macs is None else f"{record.macs / 1e9:.2f}",
                f"{height}×{width}",
                record.convention,
                record.source.citation or "",
            ]
        )
    caption = "Published costs; figures without resolution, images per forward pass and convention mean nothing."
    return table(columns, [Rows("", rows)], caption)
