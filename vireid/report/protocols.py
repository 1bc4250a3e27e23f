"""Words for protocol cards: what a score was measured under, as headings and captions print it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vireid.core.config import canonical_json

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
PLAIN = "no re-ranking"
RECALL = "recall"  # measured share of neighbours that an approximate search for re-ranking found
COUNTS = ("queries", "valid_queries", "gallery")  # what the data gave; renderings of other seeds may differ in them


def protocol_key(card: Mapping[str, Any]) -> str:
    """Canonical JSON of a card without re-ranking and counts: scores with equal keys may stand in one table."""
    return canonical_json({key: value for key, value in card.items() if key not in ("reranking", *COUNTS)})


def reranking_label(card: Mapping[str, Any]) -> str:
    """``"no re-ranking"``, or the variant with its parameters."""
    reranking = _reranking(card)
    if reranking.get("name") in (None, "none"):
        return PLAIN
    settings = ", ".join(
        f"{'λ' if key in ('lambda', 'lambda_') else key} {value}"
        for key, value in reranking.items()
        if key not in ("name", RECALL)
    )
    return f"re-ranked ({reranking['name']}{', ' + settings if settings else ''})"


def protocol_title(card: Mapping[str, Any]) -> str:
    """One line that tells protocols of one study apart, such as ``sysu/official · all · single-shot``."""
    parts = [str(card.get("name", "unnamed protocol"))]
    if card.get("mode"):
        parts.append(str(card["mode"]))
    if card.get("direction"):
        parts.append(str(card["direction"]))
    if isinstance(card.get("shots"), int):
        parts.append("single-shot" if card["shots"] == 1 else f"{card['shots']}-shot")
    if card.get("split") not in (None, "test"):
        parts.append(f"{card['split']} split")
    if card.get("test_time_augmentation") not in (None, False, "none"):
        parts.append(f"test-time augmentation {card['test_time_augmentation']}")
    if card.get("text") not in (None, False, "none"):
        parts.append(f"text {card['text']}" + (f" ({card['captions']})" if card.get("captions") else ""))
    return " · ".join(parts)


def merged(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One card for scores of several seeds: what was measured becomes a range, everything else is the first card's."""
    card = dict(cards[0])
    for key in COUNTS:
        if any(key in other for other in cards):
            card[key] = _range([other[key] for other in cards if key in other])
    if any(RECALL in _reranking(other) for other in cards):
        recall = _range([_reranking(other)[RECALL] for other in cards if RECALL in _reranking(other)])
        card["reranking"] = {**_reranking(card), RECALL: recall}
    return card


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _reranking(card: Mapping[str, Any]) -> Mapping[str, Any]:
    entry = card.get("reranking")
    return entry if isinstance(entry, Mapping) else {"name": entry}


def card_value(card: Mapping[str, Any], key: str) -> str:
    """Value of a card's entry in words."""
    if key == "reranking":
        recall = _reranking(card).get(RECALL)
        return reranking_label(card) + (f", recall of neighbours {recall}" if recall is not None else "")
    value = card.get(key)
    if value is None or value is False:
        return "none"
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
