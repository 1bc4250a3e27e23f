from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.report.comparisons import build_comparison
from vireid.core.errors import UserError
from vireid.core.published import PUBLISHED, bibtex, disagreements, published_by_name, published_records
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.report.sections.protocols import published_tables

RECORD = json.loads((PUBLISHED / "idkl-sysu-all.json").read_text(encoding="utf-8"))


def test_every_number_has_its_source_and_stands_under_its_protocol() -> None:
    records = published_records()
    page = published_tables(records)
    assert len(records) == len(list(PUBLISHED.glob("*.json")))
    assert "arXiv 2403.11708" in page
    assert "sysu/official · all · infrared→visible · single-shot, no re-ranking" in page
    assert "sysu/official · all · infrared→visible · single-shot, re-ranking disputed" in page
    assert "text oracle" in page
    assert ">47.65<" in page  # as published, not rounded
    assert ">76.6<" in page
    assert "none of them is comparable with a synthetic one" in page
    assert page.index("sysu") < page.index("regdb")
    shown = page.split("<figure")[1:]
    assert all(("text oracle" in table) == ("tvi_lfm" in table) for table in shown)  # never beside image-only rows
    assert all(not ("llcm/sampled" in table and "llcm/deen-released" in table) for table in shown)
    assert sum("llcm/" in table for table in shown) == 5
    assert ">README of hulu88/PMT, results table<" in page


def test_disagreements_and_works_are_shown_when_given(tmp_path: Path) -> None:
    named = published_by_name()
    page = published_tables(list(named.values()), disagreements(named), "a link")
    table = page.split("<figure")[-2]
    assert "Disagreements: one method, two published numbers." in table
    assert table.index(">81.42<") < table.index(">71.0<")
    assert "a link" in page


def test_a_report_keeps_the_works_that_its_published_numbers_cite(tmp_path: Path) -> None:
    report = open_report(build_comparison(tmp_path / "store").root, "comparison", tmp_path / "out")
    section = report.section("published")
    cited = (tmp_path / "out" / "tables" / "published.bib").read_text(encoding="utf-8")
    assert cited == bibtex(published_records())
    assert "tables/published.bib" in section


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


def test_a_report_keeps_the_works_that_its_systems_come_from(tmp_path: Path) -> None:
    store = build_comparison(tmp_path / "store")
    fits = [path for path in sorted(store.runs.glob("*.json")) if '"kind":"fit"' in path.read_text().replace(" ", "")]
    for path, name in zip(fits, ("agw", "compact"), strict=False):  # nothing is published of the second
        path.write_text(path.read_text().replace('"idkl"', f'"{name}"'))
    section = open_report(store.root, "comparison", tmp_path / "out").section("overview")
    cited = re.findall(r"^@\w+\{(\w+),$", section.copies["tables/references.bib"], re.MULTILINE)
    assert cited == ["Ren2024IDKL", "Ye2021AGW"]
    assert "tables/references.bib" in section
