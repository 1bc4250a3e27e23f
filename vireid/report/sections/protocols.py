"""Protocol cards that every score was measured under, and published numbers with their citations."""

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.messages import DASH
from vireid.core.protocol_card import COUNTS, RECALL, ProtocolCard
from vireid.core.published import (
    Sides,
    bibtex,
    disagreements,
    method,
    percent,
    place,
    published_by_name,
    tables,
)
from vireid.core.records import CostRecord, EvaluationRecord, Record
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
    "matches": "Modality of matches",
    "corruption": "Corrupted images",
    "selection": "Checkpoint selection",
    "transfer": "Trained on other data",
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
    """Published numbers of the store and, where ``shipped``, of the suite; else with their heading, or empty.

    What they cite is written to ``tables/published.bib``.
    """
    if not shipped:
        heading = tag("h2", "Published numbers", id="published")
        return join([heading, published_tables(report.view.published)]) if report.view.published else Html()
    named = published_by_name()
    records: dict[str, Record] = {r.id: r for r in (*named.values(), *report.view.published)}
    cited = bibtex(records.values())
    files = report.copy("tables/published.bib", cited, "BibTeX of what these tables cite") if cited else Html()
    return published_tables(list(records.values()), disagreements(named), files)


def published_tables(records: Sequence[Record], sides: Sequence[Sides] = (), files: Html | str = "") -> Html:
    """Accuracies, a table per protocol, what disagrees, and costs. Never given a measured record.

    Args:
        records: the published ones.
        sides: pairs of them that disagree.
        files: links to copies.

    Raises:
        ValueError: a record was measured.
    """
    if measured := [record.id for record in records if record.source.kind != "published"]:
        raise ValueError(f"measured records share no table with published ones: {', '.join(measured)}")
    scores = [record for record in records if isinstance(record, EvaluationRecord)]
    costs = [record for record in records if isinstance(record, CostRecord)]
    if not scores and not costs:
        return absent("No published numbers here: they lie in results/published of a checkout.")
    parts = [_scores(title, blocks) for title, blocks in tables(scores).items()]
    parts += [_disagreements(sides)] if sides else []
    parts += [_costs(costs)] if costs else []
    return join([*parts, *([tag("p", files)] if files else [])])


def _scores(title: str, blocks: Mapping[str, Sequence[EvaluationRecord]]) -> Html:
    records = [record for block in blocks.values() for record in block]
    shown = [metric for metric in METRICS if any(metric in record.metrics for record in records)]
    columns = [Column("Method", text=True)]
    columns += [Column(metric.upper() if metric[0] == "r" else metric, "%") for metric in shown]
    columns += [Column(name, text=True) for name in ("Checkpoint", "Code", "Printed in", "Source")]
    rows = [(block, [_row(record, shown) for record in content]) for block, content in blocks.items()]
    caption = (
        f"{title}. Published accuracies on real data, as the source named prints them. They share no table with "
        "measured numbers, and none of them is comparable with a synthetic one."
    )
    return table(columns, rows, caption)


def _row(record: EvaluationRecord, shown: Sequence[str]) -> list[str]:
    publication = record.source.publication
    source = record.source.citation or ""
    if publication is None:
        code = "not read"
    else:
        code = ": ".join(filter(None, (publication.code.verdict, publication.code.finding)))
        source += f" ({publication.note})" if publication.note else ""
    values = [percent(record, metric) for metric in shown]
    return [method(record), *values, record.card.selection or "not stated", code, place(record), source]


def _disagreements(sides: Sequence[Sides]) -> Html:
    columns = [Column("Method", text=True), Column("R1", "%"), Column("mAP", "%")]
    columns += [Column("Protocol", text=True), Column("Printed in", text=True)]
    blocks = [
        (
            pair.about,
            [
                [method(r), percent(r, "r1"), percent(r, "mAP"), r.card.full_title, place(r)]
                for r in (pair.one, pair.other)
            ],
        )
        for pair in sides
    ]
    return table(columns, blocks, "Disagreements: one method, two published numbers.")


def _costs(records: Sequence[CostRecord]) -> Html:
    columns = [Column("Method", text=True), Column("Params", "M"), Column("MACs", "G per image"), Column("Pixels")]
    columns += [Column("Convention", text=True), Column("Source", text=True)]
    rows = []
    for record in sorted(records, key=lambda r: (method(r).lower(), r.resolution)):
        parameters, (height, width) = record.parameters.get("deployed"), record.resolution
        rows.append(
            [
                method(record),
                DASH if parameters is None else f"{parameters / 1e6:.2f}",
                DASH if record.macs is None else f"{record.macs / 1e9:.2f}",
                f"{height}×{width}",
                record.convention,
                record.source.citation or "",
            ]
        )
    caption = "Published costs; figures without resolution, images per forward pass and convention mean nothing."
    return table(columns, [("", rows)], caption)
