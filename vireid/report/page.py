"""One report: a study's records, where its copies go, and its sections by name."""

import atexit
import shutil
import tempfile
from collections.abc import Collection
from functools import cache, cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from vireid.core.errors import UserError, did_you_mean
from vireid.report.effects.estimate import families
from vireid.report.html import Html, link
from vireid.report.records.deployment import DeploymentView, study_deployment
from vireid.report.records.find import find_study
from vireid.report.records.study import StudyView
from vireid.report.section import Section
from vireid.report.sections import MODULES
from vireid.report.tables import ScoreTable, score_tables
from vireid.store import Store, write_atomically


class Report:
    """A study's report, whose sections are HTML for a notebook.

    Args:
        view: the study.
        out: folder that takes ``figures/``, ``tables/`` and ``summary.md``.
    """

    def __init__(self, view: StudyView, out: Path) -> None:
        self.view = view
        self.out = out
        self.families = cache(partial(families, view))
        self._copies: dict[str, str] = {}

    def section(self, name: str, **choices: Any) -> Section:
        """A section, which writes its copies under ``out``; ``.frame`` has its numbers as a DataFrame.

        Args:
            name: of the section, see ``vireid.report.sections``.
            choices: what its function leaves open.

        Raises:
            UserError: no such section.
        """
        if name not in MODULES:
            raise UserError(f"no section '{name}' in vireid.report.sections{did_you_mean(name, MODULES)}")
        section = import_module(f"vireid.report.sections.{MODULES[name]}")
        self._copies = {}
        content = getattr(section, f"render_{name}")(self, **choices)
        return Section(content, self._copies)

    def copy(self, name: str, content: str, text: str = "") -> Html:
        """Write a copy beside the page; returns the link to it, which reads ``text`` (by default the kind of file)."""
        write_atomically(self.out / name, content)
        self._copies[name] = content
        return link(name, text or {"csv": "CSV", "tex": "LaTeX", "md": "Markdown"}[name.rpartition(".")[2]])

    def tables(self, *, text: bool = True) -> list[ScoreTable]:
        """Accuracy and cost of every cell, a table per protocol; without ``text`` of image-only ones."""
        return [table for table in self._tables if text or not table.key.card.reads_text]

    @cached_property
    def _tables(self) -> list[ScoreTable]:
        return score_tables(self.view)

    @cached_property
    def deployment(self) -> DeploymentView:
        """What the study trained, as it can be deployed, and what the store profiled without training it."""
        return study_deployment(self.view)


def open_report(store: str | Path, study: str, out: str | Path = "", stale: Collection[str] = ()) -> Report:
    """Open the report of a study.

    Args:
        store: root of the record store; empty: the first that has the study, see ``vireid.report.records.find``.
        study: name of the study.
        out: folder that takes ``figures/``, ``tables/`` and ``summary.md``; empty: one that goes with the process.
        stale: ids of records whose component source has changed since they were made.

    Raises:
        UserError: no such study.
    """
    root, name = (Path(store), study) if store else find_study(study)
    return Report(StudyView(Store(root), name, stale), Path(out) if out else passing_folder())


def passing_folder() -> Path:
    """A folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="vireid-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
