"""Words for protocol cards: what a score was measured under, as headings and captions print it."""

from __future__ import annotations

from collections.abc import Mapping
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
    "selection": "Checkpoint selection",
}


def protocol_key(card: Mapping[str, Any]) -> str:
    """Canonical JSON of a card without its re-ranking: scores with equal keys may stand in one table."""
    return canonical_json({key: value for key, value in card.items() if key != "reranking"})


def reranking_label(card: Mapping[str, Any]) -> str:
    """``"no re-ranking"``, or the variant with its parameters."""
    reranking = card.get("reranking")
    if isinstance(reranking, str):
        reranking = {"name": reranking}
    if not reranking or reranking.get("name") in (None, "none"):
        return "no re-ranking"
    settings = ", ".join(
        f"{'λ' if key in ('lambda', 'lambda_') else key} {value}" for key, value in reranking.items() if key != "name"
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
        parts.append(f"text {card['text']}")
    return " · ".join(parts)


def card_value(card: Mapping[str, Any], key: str) -> str:
    """Value of a card's entry in words."""
    if key == "reranking":
        return reranking_label(card)
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
