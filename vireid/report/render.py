"""Render a study's report: papermill executes the notebook, nbconvert makes one self-contained page of its outputs.

What a page depends on is one digest: unchanged inputs need no second rendering. Every report reads its study. A
notebook that reads more lists it in its metadata: ``{"vireid": {"reads": ["deployment"]}}``, with names from ``MORE``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import vireid.report
from vireid.core.config import canonical_json
from vireid.core.errors import UserError, did_you_mean
from vireid.core.published import PUBLISHED
from vireid.core.records import CostRecord, GalleryRecord, LatencyRecord, Record, SearchRecord
from vireid.report.records.deployment import study_deployment
from vireid.report.records.runs import opened_view
from vireid.report.records.study import StudyView
from vireid.store import Store, unwritable


def input_digest(
    view: StudyView,
    template: Path,
    stale: Collection[str] | None = None,
    columns: Sequence[str] = (),
    formats: Sequence[str] = (),
    runs: Sequence[str] = (),
) -> str:
    """SHA-256 over all that a page is made of.

    The plan, its records, what is missing, latencies of its graphs, panel material, published numbers, template, code.
    """
    artefacts = {cost.artefact for cost in view.costs.values()}
    named = view.plan.decisive
    digest = hashlib.sha256()
    plan = view.plan.model_dump(mode="json")
    choices = [None if stale is None else sorted(stale), list(columns), *([sorted(formats)] if formats else [])]
    choices += [["runs", *runs]] if runs else []
    digest.update(canonical_json([sys.version, *choices, plan]).encode())
    for record in sorted(view.records.values(), key=lambda r: r.id):
        timed = isinstance(record, CostRecord | LatencyRecord) and record.artefact in artefacts
        if record.id in named or timed or record.source.kind == "published":
            digest.update(canonical_json(record).encode())
    for name in _reads(template):
        for record in MORE[name](view):
            digest.update(canonical_json(record).encode())
        for contributed, _ in view.store.contributions():
            digest.update(contributed.encode())
    for run in view.runs:
        digest.update(canonical_json([run.planned.fit, *run.problems]).encode())
        files = [evaluation.per_query_file for evaluation in run.evaluations]
        there = [file is not None and (view.store.runs / file).is_file() for file in files]
        digest.update(canonical_json(there).encode())  # their content is in the records, as digests
        add_files(digest, sorted(view.panel(run).parent.glob("*")))
    add_files(digest, [*sorted(PUBLISHED.glob("*.*")), template, *report_sources()])
    return digest.hexdigest()


def report_sources() -> list[Path]:
    """The code that makes pages."""
    package = Path(vireid.report.__file__).parent
    return sorted(path for path in package.rglob("*") if path.suffix in (".py", ".j2", ".css", ".js"))


def deployment_records(view: StudyView) -> list[Record]:
    """What a report on hardware reads beside the study: costs and latencies of every graph shown, evaluated files."""
    from vireid.report.sections.deployment import prices  # draws, which other notebooks leave to their own process

    deployment = study_deployment(view)
    priced = {timing.graph for price in prices(deployment) for timing in (price.without, price.with_)}
    graphs = set(deployment.labels) | priced
    fits = {fit.id for model in deployment.models for fit in model.fits}
    records: list[Record] = [cost for cost in deployment.costs if cost.artefact in graphs]
    records += [latency for latency in deployment.latencies if latency.artefact in graphs]
    records += [e for fit in fits for e in deployment.evaluations.get(fit, ()) if e.artefact is not None]
    galleries = [r for r in view.records.values() if isinstance(r, GalleryRecord) and r.fit in fits]
    widths = {gallery.features for gallery in galleries}
    searches = [r for r in view.records.values() if isinstance(r, SearchRecord) and r.features in widths]
    records += [*galleries, *searches]
    return sorted(records, key=lambda record: record.id)


MORE: Mapping[str, Callable[[StudyView], list[Record]]] = {"deployment": deployment_records}


def _reads(template: Path) -> list[str]:
    try:
        metadata = json.loads(template.read_bytes())["metadata"]
        names: list[str] = metadata.get("vireid", {}).get("reads", [])
    except (OSError, ValueError, KeyError):  # no notebook: rendering it will say so
        return []
    if unknown := [name for name in names if name not in MORE]:
        raise UserError(f"{template}: reads '{unknown[0]}', which is unknown{did_you_mean(unknown[0], MORE)}")
    return names


def add_files(digest: hashlib._Hash, paths: Iterable[Path]) -> None:
    """Take names and contents of files into a digest."""
    for path in paths:
        if path.is_file():
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())


PAGE = "index.html"
NOTEBOOK = "report.ipynb"
_DIGEST = "inputs.sha256"
_KERNEL = "vireid-report"
_TEMPLATES = Path(__file__).parent / "template"
_HEADING = re.compile(r'<h2 id="([^"]+)">([^<]+)</h2>')  # as `tag` writes it


def render_report(
    store: Store,
    study: str,
    template: Path,
    out: Path | None = None,
    stale: Collection[str] | None = None,
    columns: Sequence[str] = (),
    formats: Sequence[str] = (),
    runs: Sequence[str] = (),
) -> Path:
    """Render the report of a study, or of one or two fits, into a folder and return the path of its page.

    Args:
        store: where the records lie.
        study: name of the study; empty where ``runs`` names fits of no study.
        template: notebook with a cell tagged ``parameters`` (store, study, out, stale, columns, formats).
        out: folder of the report; by default ``studies/<study>/report`` in the store.
        stale: ids of records whose component source has changed since they were made; None: not looked.
        columns: of one-column LaTeX tables, such as ``["r1", "mAP", "latency"]``; by default the study's.
        formats: kinds of file beside the page; by default all but PNG.
        runs: ids of one or two fits, for templates that show single ones.

    Raises:
        UserError: as ``render_notebook``; no such study or fit.
    """
    target = store.study(study) / "report" if out is None else out
    check_template(template)
    view = opened_view(store, study, runs, stale)
    if stale is not None:  # others of the store say nothing about this page
        stale = sorted(view.plan.decisive.intersection(stale))
    parameters = {
        "study": study,
        "stale": stale,
        "columns": list(columns),
        **({"formats": list(formats)} if formats else {}),
        **({"runs": list(runs)} if runs else {}),
    }
    digest = input_digest(view, template, stale, columns, formats, runs)
    return render_notebook(template, target, study or " and ".join(runs), digest, parameters, {"store": store.root})


def check_template(template: Path) -> None:
    """Refuse a notebook that is not there.

    Raises:
        UserError: it is not.
    """
    if not template.is_file():
        raise UserError(f"{template}: no such report template; give a notebook, such as notebooks/ablation.ipynb")


def render_notebook(
    template: Path,
    target: Path,
    title: str,
    digest: str | None,
    parameters: Mapping[str, Any],
    folders: Mapping[str, Path],
) -> Path:
    """Execute a notebook into a folder and return the path of its page.

    The folder holds the page, the executed notebook, ``figures/`` and ``tables/``. It is swapped in whole, so that a
    reader or a killed process never leaves half a report; with an unchanged digest nothing is done.

    Args:
        template: notebook with a cell tagged ``parameters``.
        target: folder of the report.
        title: of the page.
        digest: of all that the page is made of; None to render in any case.
        parameters: of the notebook; ``out`` comes on top.
        folders: further ones, which reach the notebook relative to the report, so that it names no machine's own paths.

    Raises:
        UserError: a cell of the notebook failed, or ``target`` cannot be written.
    """
    stamp = target / _DIGEST
    if stamp.is_file() and digest and stamp.read_text(encoding="utf-8") == digest and (target / PAGE).is_file():
        return target / PAGE
    if target.exists() and not stamp.is_file() and any(target.iterdir()):
        raise UserError(f"{target}: holds files that are not a report; give an empty folder or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        draft.chmod(0o755)
        relative = {name: os.path.relpath(folder, draft) for name, folder in folders.items()}
        notebook = _execute(template, draft / NOTEBOOK, {**parameters, **relative, "out": "."})
        (draft / PAGE).write_text(page_html(notebook, title), encoding="utf-8")
        (draft / _DIGEST).write_text(digest or "", encoding="utf-8")
        _swap(draft, target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target / PAGE


def _execute(template: Path, output: Path, parameters: dict[str, Any]) -> Any:
    """Run the notebook in this very interpreter; what papermill notes about paths and times is dropped."""
    with _without_grammars():
        import nbformat
        import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with _kernel():
            notebook = papermill.execute_notebook(
                str(template),
                str(output),
                parameters=parameters,
                kernel_name=_KERNEL,
                language="python",
                cwd=str(output.parent),
                progress_bar=False,
                request_save_on_cell_execute=False,  # nobody reads a draft: twice for every cell took a second and more
                autosave_cell_every=0,
            )
    except PapermillExecutionError as error:
        if error.ename == "UserError":
            raise UserError(str(error.evalue)) from error
        line = next((text for text in str(error.source).strip().splitlines() if text), "")
        raise UserError(
            f"{template}: cell {error.cell_index + 1} (`{line}`) failed with {error.ename}: {error.evalue}"
        ) from error
    except DeadKernelError as error:
        raise UserError(f"{template}: the notebook's process died, often for lack of memory; {error}") from error
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    output.write_text(str(nbformat.writes(notebook)) + "\n", encoding="utf-8")  # type: ignore[no-untyped-call]
    return notebook


@contextmanager
def _without_grammars() -> Iterator[None]:
    """Import without the grammars of addresses that jsonschema builds where it can: a second, and nothing asks them."""
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails, which jsonschema allows for
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _kernel() -> Iterator[None]:
    """Offer a kernel that is this interpreter, whatever kernels the user has registered, and leave nothing behind."""
    command = [sys.executable, "-P", "-Xfrozen_modules=off", "-m", "vireid.report.kernel", "-f", "{connection_file}"]
    quiet = "--log-level=50"  # of errors a cell's own come back with it; the interrupt that ends a kernel is none
    spec = {
        "argv": [*command, "--HistoryManager.enabled=False", quiet],
        "display_name": _KERNEL,
        "language": "python",
        "env": {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    }
    with tempfile.TemporaryDirectory(prefix="vireid-kernel-") as name:
        folder = Path(name) / "kernels" / _KERNEL
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        folders = {"JUPYTER_PATH": name, "JUPYTER_RUNTIME_DIR": name, "IPYTHONDIR": name}
        before = {key: os.environ.get(key) for key in folders}
        os.environ.update(folders)
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


def page_html(notebook: Any, study: str) -> str:
    """The notebook's text and outputs as one page: no code, nothing fetched; a script sorts its tables."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(anchor_link_text="")  # type: ignore[no-untyped-call]
    exporter.raw_template = (_TEMPLATES / "index.html.j2").read_text(encoding="utf-8")
    headings = [heading for cell in notebook.cells for heading in _headings(cell)]
    resources = {
        "study": study,
        "headings": headings,
        "style": (_TEMPLATES / "style.css").read_text(encoding="utf-8"),
        "script": (_TEMPLATES / "tables.js").read_text(encoding="utf-8"),
    }
    page, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(page)


def _headings(cell: Any) -> list[tuple[str, str]]:
    """Sections that a cell begins, with their anchors: of its text, or of an output that is there in some studies."""
    if cell.cell_type == "markdown":
        lines = [line.removeprefix("## ").strip() for line in cell.source.splitlines() if line.startswith("## ")]
        return [(heading, heading.replace(" ", "-")) for heading in lines]
    shown = (str(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", ()))
    return [(unescape(heading), anchor) for html in shown for anchor, heading in _HEADING.findall(html)]


def _swap(draft: Path, target: Path) -> None:
    """Put the draft in the report's place; the old report goes only when the new one stands."""
    if not target.exists():
        draft.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        draft.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
