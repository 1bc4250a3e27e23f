from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.report.deployments import build_deployment
from tests.report.studies import BuildStore
from vireid.core.errors import UserError
from vireid.core.records import CostRecord
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.report.render import input_digest
from vireid.store import Store

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_an_unknown_section_is_refused_with_the_nearest_one(build_store: BuildStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no section 'sumary'.*did you mean 'summary'"):
        open_report(build_store().root, "quick", tmp_path).section("sumary")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_open_their_report_in_one_way(path: Path) -> None:
    code = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert sum("open_report(store, study, out, stale, columns)" in source for source in code) == 1
    assert all(source.startswith("report.section(") for source in code[2:])


def test_a_notebook_lists_what_it_reads_beside_its_study(tmp_path: Path) -> None:
    store = build_deployment(tmp_path / "store")
    cost = next(record for record in store.records() if isinstance(record, CostRecord))
    template = tmp_path / "own.ipynb"

    def digest(metadata: object) -> str:
        template.write_text(json.dumps({"cells": [], "metadata": metadata}))
        return input_digest(StudyView(Store(store.root), "hardware"), template, ())

    metadata = ({}, {"vireid": {"reads": ["deployment"]}})
    before = [digest(each) for each in metadata]
    unplanned = cost.model_copy(update={"id": "0" * 12, "artefact": "1" * 12, "model": {"name": "other"}})
    store.put(unplanned)
    after = [digest(each) for each in metadata]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    with pytest.raises(UserError, match="reads 'deploymant', which is unknown; did you mean 'deployment'"):
        digest({"vireid": {"reads": ["deploymant"]}})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_a_committed_study_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Jupyter starts it, in a checkout that has trained nothing; it leaves nothing beside itself."""
    monkeypatch.chdir(path.parent)
    monkeypatch.delenv("VIREID_STORE", raising=False)
    before = sorted(path.parent.iterdir())
    code = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for source in code[:2]:
        exec(source, names)
    report = names["report"]
    assert report.view.store.root.resolve().is_relative_to(path.parents[1] / "results")
    assert "single-shot" in report.section("protocols")
    assert sorted(path.parent.iterdir()) == before
