from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.report.studies import BuildStore, add_panel
from vireid.core.errors import UserError
from vireid.report import render, render_report
from vireid.report.records.study import StudyView
from vireid.report.render import input_digest
from vireid.store import Store

TEMPLATE = Path(__file__).parents[2] / "notebooks" / "ablation.ipynb"


def small_template(folder: Path, code: str) -> Path:
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "nowhere", "display_name": "x"}})
    notebook.cells = [
        nbformat.v4.new_code_cell("store = study = out = stale = None", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_markdown_cell("## Part one\n\nText."),
        nbformat.v4.new_code_cell(code),
    ]
    path = folder / "template.ipynb"
    path.write_text(nbformat.writes(notebook))
    return path


def test_template_is_thin_and_has_no_outputs() -> None:
    notebook = json.loads(TEMPLATE.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code[0]["metadata"]["tags"] == ["parameters"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(len("".join(cell["source"]).splitlines()) <= 6 for cell in code)


def test_failing_cell_leaves_the_old_report_and_nothing_else(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store()
    folder = store.study("quick")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("old")
    (folder / "report" / "inputs.sha256").write_text("old")
    template = small_template(tmp_path, "values = {}\nvalues['mAP']")
    with pytest.raises(UserError, match=r"template.ipynb: cell \d \(`values = \{\}`\) failed with KeyError: 'mAP'"):
        render_report(store, "quick", template)
    assert (folder / "report" / "index.html").read_text() == "old"
    assert sorted(p.name for p in folder.iterdir()) == ["plan.json", "report"]


def test_foreign_files_and_missing_templates_are_refused(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="not a report"):
        render_report(store, "quick", TEMPLATE, tmp_path / "mine")
    with pytest.raises(UserError, match="no such report template"):
        render_report(store, "quick", tmp_path / "none.ipynb")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        render_report(store, "quick", TEMPLATE, tmp_path / "file" / "report")


def test_digest_follows_every_input(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store()

    def digest(template: Path = TEMPLATE, stale: tuple[str, ...] = ()) -> str:
        return input_digest(StudyView(Store(store.root), "quick", stale), template, stale)

    seen = [digest()]
    assert digest() == seen[0]
    view = StudyView(store, "quick")
    fit = view.runs[0].fit
    assert fit is not None
    store.put(fit.model_copy(update={"seconds": 1.0}))
    seen.append(digest())
    add_panel(store, fit.id, queries=1)
    seen.append(digest())
    seen.append(digest(stale=(fit.id,)))
    seen.append(input_digest(StudyView(Store(store.root), "quick", ()), TEMPLATE, (), formats=["png"]))
    seen.append(digest(small_template(tmp_path, "1")))
    (store.runs / f"{view.runs[1].planned.fit}.json").unlink()
    seen.append(digest())
    assert len(set(seen)) == len(seen)


def test_stale_records_of_other_studies_change_nothing(
    build_store: BuildStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every page of a store would be made anew, and name them, whenever one of its records became stale."""
    store, asked = build_store(), []
    monkeypatch.setattr(render, "render_notebook", lambda *arguments: asked.append(arguments) or tmp_path)
    own = StudyView(store, "quick").runs[0].planned.fit
    for stale in ([], ["0" * 12], [own], ["0" * 12, own]):
        render_report(store, "quick", TEMPLATE, stale=stale)
    none, others, mine, both = ((digest, parameters["stale"]) for _, _, _, digest, parameters, _ in asked)
    assert none == others
    assert mine == both == (mine[0], [own])
    assert mine[0] != none[0]


@pytest.mark.check
def test_whole_report_is_self_contained_and_rendered_once(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store((0, 1, 2), broken=(3,))
    add_panel(store, StudyView(store, "quick").runs[0].planned.fit)
    page = render_report(store, "quick", TEMPLATE)
    folder = store.study("quick") / "report"
    assert page == folder / "index.html"
    text = page.read_text()
    assert text.count("<script") == 1  # which sorts tables
    assert "<script src" not in text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", text)
    assert not re.search(r"@import|url\(", text)
    assert "became NaN at epoch 3" in text
    for target in re.findall(r'href="((?:figures|tables)/[^"]+)"', text):
        assert (folder / target).is_file()
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    notebook = (folder / "report.ipynb").read_text()
    assert str(tmp_path) not in notebook + text  # a published report names no machine's own paths
    assert "vireid explain" in text
    before = page.stat().st_mtime_ns
    render_report(store, "quick", TEMPLATE)
    assert page.stat().st_mtime_ns == before
    assert sorted(p.name for p in store.study("quick").iterdir()) == ["plan.json", "report"]
