"""Corrupted images in reports: a table of their own with the relative drop seed by seed, and in no other table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.report.comparisons import ALL, CORRUPTED, SEEDS, SYSTEMS, build_comparison, score
from vireid.report import open_report
from vireid.report.records.study import StudyView
from vireid.report.sections.corruptions import corrupted_rows


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_comparison(tmp_path_factory.mktemp("corrupted") / "store", corrupted=True)


def test_the_drop_is_of_each_seed_s_own_score(store) -> None:
    rows = {row.cell: row for row in corrupted_rows(StudyView(store, "comparison"))}
    assert len(rows) == len(SYSTEMS)
    clean, corrupted = ([score("agw", seed, card) for seed in SEEDS] for card in (ALL, CORRUPTED))
    row = rows["system=agw"]
    lost = [(before - after) / before for before, after in zip(clean, corrupted, strict=True)]
    assert row.drop["mAP"].mean == pytest.approx(np.mean(lost), rel=1e-12)
    assert row.clean["mAP"].mean == pytest.approx(np.mean(clean), rel=1e-12)
    assert row.corrupted["mAP"].mean == pytest.approx(np.mean(corrupted), rel=1e-12)
    low, high = row.drop["mAP"].low, row.drop["mAP"].high
    assert low is not None
    assert high is not None
    assert low < row.drop["mAP"].mean < high


def test_corrupted_scores_stand_in_their_table_alone(store, tmp_path: Path) -> None:
    report = open_report(store.root, "comparison", tmp_path)
    page = report.section("corruptions")
    assert "Corrupted images" in page
    assert "corrupted gallery" in page
    with (tmp_path / "tables" / "corruptions.csv").open(encoding="utf-8") as stream:
        printed = list(csv.DictReader(stream))
    assert len(printed) == 2 * len(SYSTEMS)
    assert all("corrupted gallery" in row["protocol"] for row in printed)
    assert all("corrupted" not in table.key.title for table in report.tables())


def test_without_corrupted_images_there_is_no_section(tmp_path: Path) -> None:
    assert open_report(build_comparison(tmp_path / "store").root, "comparison", tmp_path).section("corruptions") == ""
