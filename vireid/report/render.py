"""Render a study's report: papermill executes the notebook, nbconvert makes one self-contained page of its outputs."""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError
from vireid.report.inputs import input_digest
from vireid.report.records.study import StudyView
from vireid.store import Store, unwritable

PAGE = "index.html"
NOTEBOOK = "report.ipynb"
_DIGEST = "inputs.sha256"
_KERNEL = "vireid-report"
_TEMPLATES = Path(__file__).parent / "template"


def render_report(
    store_root: Path, study: str, template: Path, out: Path | None = None, stale: Collection[str] = ()
) -> Path:
    """Render the report of a study into a folder and return the path of its page.

    The folder holds the page, the executed notebook, ``figures/`` and ``tables/``. It is swapped in whole, so that a
    reader or a killed process never leaves half a report; with unchanged inputs nothing is done.

    Args:
        store_root: root of the record store.
        study: name of the study.
        template: notebook with a cell tagged ``parameters`` (store, study, out, stale).
        out: folder of the report; by default ``studies/<study>/report`` in the store.
        stale: ids of records whose component source has changed since they were made.

    Raises:
        UserError: no such study or template, a cell of the notebook failed, or ``out`` cannot be written.
    """
    store = Store(store_root)
    target = store.study(study) / "report" if out is None else out
    if not template.is_file():
        raise UserError(f"{template}: no such report template; give a notebook, such as notebooks/ablation.ipynb")
    digest = input_digest(StudyView(store, study, stale), template, stale)
    stamp = target / _DIGEST
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest and (target / PAGE).is_file():
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
        parameters = {
            "store": os.path.relpath(store_root, draft),  # keeps the notebook free of a machine's own paths
            "study": study,
            "out": ".",
            "stale": sorted(stale),
        }
        notebook = _execute(template, draft / NOTEBOOK, parameters)
        (draft / PAGE).write_text(_page(notebook, study), encoding="utf-8")
        (draft / _DIGEST).write_text(digest, encoding="utf-8")
        _swap(draft, target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target / PAGE


def _execute(template: Path, output: Path, parameters: dict[str, Any]) -> Any:
    """Run the notebook in this very interpreter; what papermill notes about paths and times is dropped."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with _own_kernel():
            notebook = papermill.execute_notebook(
                str(template),
                str(output),
                parameters=parameters,
                kernel_name=_KERNEL,
                language="python",
                cwd=str(output.parent),
                progress_bar=False,
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
def _own_kernel() -> Iterator[None]:
    """Offer a kernel that is this interpreter, whatever kernels the user has registered, and leave nothing behind."""
    command = [sys.executable, "-P", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": [*command, "--HistoryManager.enabled=False", "--log-level=40"],
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


def _page(notebook: Any, study: str) -> str:
    """The notebook's text and outputs as one page: no code, no script, nothing fetched from elsewhere."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(anchor_link_text="")  # type: ignore[no-untyped-call]
    exporter.raw_template = (_TEMPLATES / "index.html.j2").read_text(encoding="utf-8")
    headings = [
        line.removeprefix("## ").strip()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    resources = {
        "study": study,
        "headings": [(heading, heading.replace(" ", "-")) for heading in headings],
        "style": (_TEMPLATES / "style.css").read_text(encoding="utf-8"),
    }
    page, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(page)


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
