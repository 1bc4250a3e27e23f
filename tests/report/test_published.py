from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.comparisons import build_comparison
from vireid.core.errors import UserError
from vireid.core.records import PUBLISHED, published_records
from vireid.report.records.study import StudyView
from vireid.report.sections.protocols import published_tables

RECORD = json.loads((PUBLISHED / "idkl-sysu-all.json").read_text(encoding="utf-8"))


def test_every_number_has_its_source_and_stands_under_its_protocol() -> None:
    records = published_records()
    page = published_tables(records)
    assert len(records) == len(list(PUBLISHED.glob("*.json")))
    assert "arXiv 2403.11708" in page
    assert "sysu/official · all · infrared→visible · single-shot, no re-ranking" in page
    assert "text oracle" in page
    assert ">47.65<" in page  # as published, not rounded
    assert ">76.6<" in page
    assert "none of them is comparable with a synthetic one" in page
    assert page.index("sysu") < page.index("regdb")
    blocks = page.split('<tr class="block">')[1:]
    assert all(("text oracle" in block) == ("tvi_lfm" in block) for block in blocks)  # never beside image-only rows


def test_measured_records_are_refused(tmp_path: Path) -> None:
    view = StudyView(build_comparison(tmp_path / "store"), "comparison")
    with pytest.raises(ValueError, match="share no table with published ones"):
        published_tables([*published_records(), view.runs[0].evaluations[0]])


def test_a_number_without_its_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "idkl.json").write_text(json.dumps({**RECORD, "source": {"kind": "published"}}))
    with pytest.raises(UserError, match=r"idkl.json: a published record needs"):
        published_records(tmp_path)


def test_no_folder_no_numbers(tmp_path: Path) -> None:
    assert published_records(tmp_path / "absent") == []
    assert "No published numbers here" in published_tables([])
