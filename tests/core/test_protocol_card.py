from __future__ import annotations

import json
from pathlib import Path

import pytest

from vireid.core.config import canonical_json
from vireid.core.protocol_card import ProtocolCard
from vireid.core.records import EvaluationRecord, read_record

ROOT = Path(__file__).parents[2]
OLD = sorted((ROOT / "tests/historic_records").glob("v1-evaluation*.json"))
PUBLISHED = sorted((ROOT / "results/published").glob("*.json"))


@pytest.mark.parametrize("path", [*OLD, *PUBLISHED], ids=lambda path: path.stem)
def test_a_card_holds_what_its_record_says_and_changes_nothing_in_it(path: Path) -> None:
    record = read_record(path.read_bytes(), str(path))
    if isinstance(record, EvaluationRecord):
        written = json.loads(path.read_text(encoding="utf-8"))["protocol"]
        assert record.card.entries == written
        assert json.loads(record.model_dump_json())["protocol"] == written
        compared = {k: v for k, v in written.items() if k not in ("reranking", "queries", "valid_queries", "gallery")}
        assert record.card.key == canonical_json(compared)


def test_entries_of_other_versions_are_kept_and_compared() -> None:
    card = ProtocolCard.model_validate({"name": "sysu", "colour": "infrared", "reranking": {"name": "none"}})
    assert card.entries["colour"] == "infrared"
    assert card.comparable != card.without("colour").comparable
    assert hash(card.comparable) == hash(card.comparable.model_copy())
    assert (card.is_plain, card.reads_text, card.augments, card.split) == (True, False, False, "test")
