from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from tests.report.deployments import build_deployment
from tests.report.studies import BuildStore
from vireid.core.errors import UserError
from vireid.core.records import CostRecord
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.report.render import input_digest, page_html
from vireid.store import Store

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
OF_STUDIES = [path for path in NOTEBOOKS if path.stem != "dataset"]


def test_an_unknown_section_is_refused_with_the_nearest_one(build_store: BuildStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no section 'sumary'.*did you mean 'summary'"):
        open_report(build_store().root, "quick", tmp_path).section("sumary")


def test_copies_are_of_the_kinds_that_are_asked_for(build_store: BuildStore, tmp_path: Path) -> None:
    root = build_store().root
    kinds = {}
    for formats in ((), ("html", "png"), ("csv", "tex"), ("html",)):
        folder = tmp_path / "-".join(("with", *formats))
        report = open_report(root, "quick", folder, formats=formats)
        sections = [report.section(name) for name in ("overview", "summary", "ablation", "scores", "effects")]
        page = "".join(sections)
        kinds[formats] = {path.suffix[1:] for path in folder.rglob("*.*")}
        links = re.findall(r'href="([^"#]+)"', page)
        assert {target for target in links if not (folder / target).is_file()} == set()
        assert len(links) == len(set(folder.rglob("*.*")))  # every copy is linked
        assert "<img" in page  # figures show whatever is kept
        assert not re.search(r"· *</(?:span|p|figcaption)>|as *\.|macros: *\.", page)
        assert not sections[2].frame.empty
        assert sections[2].to_latex().startswith("%")
    assert kinds == {
        (): {"svg", "pdf", "csv", "tex", "bib", "md"},
        ("html", "png"): {"png"},
        ("csv", "tex"): {"csv", "tex", "bib"},
        ("html",): set(),
    }
    with Image.open(next((tmp_path / "with-html-png").rglob("*.png"))) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    with pytest.raises(UserError, match=r"--formats pgn: no such kind of file.*did you mean 'png'"):
        open_report(root, "quick", tmp_path, formats=["pgn"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_open_their_report_in_one_way(path: Path) -> None:
    code = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    opened = {"dataset": "open_dataset(data, store, out, formats)"}.get(
        path.stem, "open_report(store, study, out, stale, columns, formats"
    )
    assert sum(opened in source for source in code) == 1
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


@pytest.mark.parametrize("path", OF_STUDIES, ids=lambda path: path.stem)
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


def test_a_committed_pair_of_runs_shows_what_needs_no_weights_and_says_what_does(tmp_path: Path) -> None:
    """Per-query records are committed, weights are not."""
    report = open_report(NOTEBOOKS[0].parents[1] / "results", "optimized_idkl", tmp_path)
    assert [run.cell.baseline for run in report.runs] == [True, False]
    head = report.section("runs")
    for run in report.runs:
        assert f"seed={run.seed}" in head.partition("These train them")[2]
    assert f"vireid explain {report.runs[0].fit.id} {report.runs[1].fit.id} --report" in head
    changed = report.section("changed_queries")
    assert "the commands stand at the top of this page" in changed
    change = changed.frame["change"]
    assert change.is_monotonic_decreasing
    assert change.mean() == pytest.approx(head.frame["mAP"].diff().iloc[-1], abs=0.01)
    for name in ("similarity_shift", "embedding_map", "heat_maps"):
        assert "Needs the weights" in report.section(name)
    queries = report.section("extreme_queries").frame
    assert queries["ap"].iloc[0] == queries["ap"].max()


def test_a_report_shows_the_runs_that_are_asked_for(build_store: BuildStore, tmp_path: Path) -> None:
    root = build_store((0, 1)).root
    fits = [run.planned.fit for run in StudyView(Store(root), "quick").runs[:2]]
    assert [run.fit.id for run in open_report(root, "quick", tmp_path, runs=fits).runs] == fits
    assert [run.fit.id for run in open_report(root, "", tmp_path, runs=fits).runs] == fits
    with pytest.raises(UserError, match="no fit of it has this id"):
        open_report(root, "quick", tmp_path, runs=["0" * 12])


def test_a_section_that_only_some_studies_have_is_in_the_navigation() -> None:
    words = nbformat.v4.new_markdown_cell("## All scores\n\nText.")
    html = '<h2 id="corrupted">Corrupted &amp; clean</h2><table></table>'
    shown = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("execute_result", {"text/html": html})])
    page = page_html(nbformat.v4.new_notebook(cells=[words, shown, nbformat.v4.new_code_cell()]), "comparison")
    navigation = page[page.index("<nav") : page.index("</nav>")]
    assert re.findall(r'href="#([^"]+)">([^<]+)<', navigation) == [
        ("All-scores", "All scores"),
        ("corrupted", "Corrupted &amp; clean"),
    ]
    assert page.count('id="corrupted"') == 1
