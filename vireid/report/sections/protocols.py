"""Protocol cards: what every score of a report was measured under."""

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.protocol_card import COUNTS, RECALL, ProtocolCard
from vireid.report.html import Column, Html, absent, table
from vireid.report.page import Report

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


def render(report: Report) -> Html:
    """One column per protocol and re-ranking, one row per entry of their cards."""
    groups: dict[str, list[ProtocolCard]] = {}
    for run in report.view.runs:
        for evaluation in run.evaluations:
            groups.setdefault(evaluation.card.full_title, []).append(evaluation.card)
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
