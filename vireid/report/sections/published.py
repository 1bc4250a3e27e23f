"""Published numbers with their citations, in tables of their own."""

from collections.abc import Sequence

from vireid.core.messages import DASH
from vireid.core.records import CostRecord, EvaluationRecord, Record
from vireid.report.html import Column, Html, absent, join, table, tag
from vireid.report.page import Report
from vireid.report.records.labels import METRICS
from vireid.report.records.published import published_records


def render(report: Report, *, shipped: bool = True) -> Html:
    """Published numbers of the store and, where ``shipped``, of the suite; else with their heading, or empty."""
    if not shipped:
        heading = tag("h2", "Published numbers", id="published")
        return join([heading, published_tables(report.view.published)]) if report.view.published else Html()
    records: dict[str, Record] = {r.id: r for r in (*published_records(), *report.view.published)}
    return published_tables(list(records.values()))


def published_tables(records: Sequence[Record]) -> Html:
    """Accuracies, protocol by protocol, and costs. Never given a measured record.

    Raises:
        ValueError: a record was measured.
    """
    if measured := [record.id for record in records if record.source.kind != "published"]:
        raise ValueError(f"measured records share no table with published ones: {', '.join(measured)}")
    scores = [record for record in records if isinstance(record, EvaluationRecord)]
    costs = [record for record in records if isinstance(record, CostRecord)]
    if not scores and not costs:
        return absent("No published numbers here: they lie in results/published of a checkout.")
    return join([*([_scores(scores)] if scores else []), *([_costs(costs)] if costs else [])])


def _scores(records: Sequence[EvaluationRecord]) -> Html:
    shown = [metric for metric in METRICS if any(metric in record.metrics for record in records)]
    columns = [Column("Method", text=True)]
    columns += [Column(metric.upper() if metric[0] == "r" else metric, "%") for metric in shown]
    columns += [Column("Checkpoint", text=True), Column("Source", text=True)]
    blocks: dict[str, list[list[str]]] = {}
    for record in sorted(records, key=_order):
        # with two decimals where the source has them
        values = [f"{100 * record.metrics[m]:.2f}".removesuffix("0") if m in record.metrics else DASH for m in shown]
        row = [_method(record), *values, record.card.selection or "not stated", record.source.citation or ""]
        blocks.setdefault(record.card.full_title, []).append(row)
    caption = (
        "Published accuracies, as their authors report them on real data. They share no table with measured numbers, "
        "and none of them is comparable with a synthetic one."
    )
    return table(columns, blocks.items(), caption)


def _order(record: EvaluationRecord) -> tuple[object, ...]:
    """SYSU-MM01 first, then by protocol and method."""
    title = record.card.title
    return not title.startswith("sysu"), title, record.card.reranking_label, _method(record).lower()


def _method(record: Record) -> str:
    stamp = record.components.get("model")
    return "not named" if stamp is None else stamp.name


def _costs(records: Sequence[CostRecord]) -> Html:
    columns = [Column("Method", text=True), Column("Params", "M"), Column("MACs", "G per image"), Column("Pixels")]
    columns += [Column("Convention", text=True), Column("Source", text=True)]
    rows = []
    for record in sorted(records, key=lambda r: (_method(r).lower(), r.resolution)):
        parameters, (height, width) = record.parameters.get("deployed"), record.resolution
        rows.append(
            [
                _method(record),
                DASH if parameters is None else f"{parameters / 1e6:.2f}",
                DASH if record.macs is None else f"{record.macs / 1e9:.2f}",
                f"{height}×{width}",
                record.convention,
                record.source.citation or "",
            ]
        )
    caption = "Published costs; figures without resolution, images per forward pass and convention mean nothing."
    return table(columns, [("", rows)], caption)
