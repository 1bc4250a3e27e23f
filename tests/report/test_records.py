"""Rows of a page lead to the records that they rest on."""

from __future__ import annotations

import re
from pathlib import Path

from tests.report.studies import build
from vireid.report.page import Report
from vireid.report.records.study import StudyView


def test_every_row_leads_to_its_records_and_every_record_to_its_file(tmp_path: Path) -> None:
    store = build(tmp_path, seeds=(0, 1))
    view = StudyView(store, store_study(store))
    page = store.study(view.plan.name) / "report"
    report = Report(view, page)
    listed, shown = report.section("records"), report.section("ablation")
    places = set(re.findall(r'id="(records-\d+)"', listed))
    led_to = set(re.findall(r'href="#(records-\d+)"', shown))
    assert led_to
    assert led_to <= places
    files = re.findall(r'href="([^"#]+\.json)"', listed)
    there = {id_ for run in view.runs for id_ in (run.planned.fit, *run.planned.evaluations, run.planned.cost)}
    there &= view.records.keys()
    assert {Path(file).stem for file in files} == there
    assert all((page / file).resolve().is_file() for file in files)


def test_what_is_not_there_is_no_link_and_a_page_outside_the_store_has_none(tmp_path: Path) -> None:
    store = build(tmp_path / "store")
    view = StudyView(store, store_study(store))
    gone = view.runs[-1].planned.fit
    (store.runs / f"{gone}.json").unlink()
    view = StudyView(store, view.plan.name)
    listed = Report(view, store.study(view.plan.name) / "report").section("records")
    assert f"{gone}.json" not in listed
    assert f'title="not there">{gone}' in listed
    assert ".json" not in Report(view, tmp_path / "elsewhere").section("records")


def store_study(store) -> str:
    return next(store.root.glob("studies/*/plan.json")).parent.name
