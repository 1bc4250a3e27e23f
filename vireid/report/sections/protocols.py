"""Protocol cards that every score was measured under, and published numbers with their citations."""

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.messages import DASH
from vireid.core.protocol_card import COUNTS, RECALL, ProtocolCard
from vireid.core.records import CostRecord, EvaluationRecord, Record, published_records
from vireid.report.html import Column, Html, absent, join, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import METRICS, grouped

CARD = {
    "name": "Protocol",
    "mode": "Mode",
    "direction": "Direction",
    "shots": "Gallery images per identity and camera",
    "trials": "Trials averaged",
    "split": "Split",
    "reranking": "Re-ranking",
    "cmc": "CMC",
    "camera_rule": "Gallery images left out",
    "score": "Similarity",
    "test_time_augmentation": "Test-time augmentation",
    "feature_normalisation": "Feature normalisation",
    "text": "Text source",
    "captions": "Captions",
    "selection": "Checkpoint selection",
    "queries": "Queries",
    "valid_queries": "Queries with a match in the gallery",
    "gallery": "Gallery images",
}


def render_protocols(report: Report) -> Html:
    """One column per protocol and re-ranking, one row per entry of their cards."""
    listed = (evaluation.card for run in report.view.runs for evaluation in run.evaluations)
    groups = grouped(listed, lambda card: card.full_title)
    if not groups:
        return absent("No scores yet.")
    cards = {title: merged(group) for title, group in groups.items()}
    keys = [key for key in CARD if any(key in card.entries for card in cards.values())]
    keys += sorted({key for card in cards.values() for key in card.entries} - set(CARD))
    columns = [Column("", text=True), *(Column(title, text=True) for title in cards)]
    rows = [[CARD.get(key, key), *(card_value(card, key) for card in cards.values())] for key in keys]
    return table(columns, [("", rows)], "Protocol card: what every score of this report was measured under.")


def merged(cards: Sequence[ProtocolCard]) -> ProtocolCard:
    """One card for scores of several seeds: what was measured becomes a range, everything else is the first card's."""
    changes: dict[str, Any] = {}
    for key in COUNTS:
        if counts := [card.entries[key] for card in cards if key in card.entries]:
            changes[key] = _range(counts)
    settings = [card.reranking_settings for card in cards]
    if recalls := [setting[RECALL] for setting in settings if RECALL in setting]:
        changes["reranking"] = {**settings[0], RECALL: _range(recalls)}
    return ProtocolCard.model_validate({**cards[0].entries, **changes})


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def card_value(card: ProtocolCard, key: str) -> str:
    """An entry as the table prints it."""
    value = card.entries.get(key)
    if key == "reranking":
        recall = card.reranking_settings.get(RECALL)
        return card.reranking_label + (f", recall of neighbours {recall}" if recall is not None else "")
    if value is None or value is False:
        return "none"
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def render_published(report: Report, *, shipped: bool = True) -> Html:
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
