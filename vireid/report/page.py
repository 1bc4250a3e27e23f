"""One report: what it is about, where its copies go, and its sections by name."""

import atexit
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from vireid.core.errors import UserError, did_you_mean
from vireid.report.copies import Copies, kinds_of
from vireid.report.effects.estimate import families
from vireid.report.html import Html, link
from vireid.report.latex import PaperTable
from vireid.report.records.deployment import DeploymentView, study_deployment
from vireid.report.records.keys import MAIN_SCORES
from vireid.report.records.runs import chosen_runs, opened_view
from vireid.report.records.study import StudyView, cells_are_levels
from vireid.report.section import Section
from vireid.report.sections import MODULES
from vireid.report.tables import ALL_COLUMNS, SYSTEM_COLUMNS, ScoreTable, score_tables


class Page:
    """What every report is, whatever it is about: sections by name, and copies beside the page.

    Args:
        out: folder that takes ``figures/`` and ``tables/``.
        formats: kinds of file that are kept beside the page; by default all but PNG.

    Raises:
        UserError: no such kind.
    """

    modules: ClassVar[Mapping[str, str]]
    """Every section that it has, with its module in ``vireid.report.sections``."""

    def __init__(self, out: Path, formats: Collection[str] = ()) -> None:
        self.out = out
        self.copies = Copies(out, kinds_of(formats))
        self._copies: dict[str, str] = {}

    def section(self, name: str, **choices: Any) -> Section:
        """A section, which writes its copies under ``out``; ``.frame`` has its numbers as a DataFrame.

        Args:
            name: of the section, see ``vireid.report.sections``.
            choices: what its function leaves open.

        Raises:
            UserError: no such section.
        """
        if name not in self.modules:
            raise UserError(f"no section '{name}' in vireid.report.sections{did_you_mean(name, self.modules)}")
        section = import_module(f"vireid.report.sections.{self.modules[name]}")
        self._copies = {}
        content = getattr(section, f"render_{name}")(self, **choices)
        return Section(content, self._copies)

    def copy(self, name: str, content: str, text: str = "") -> Html:
        """Write a copy beside the page; returns the link to it, which reads ``text`` (by default the kind of file).

        Empty where copies of its kind are not kept.
        """
        self._copies[name] = content
        if not self.copies.write(name, content):
            return Html()
        return link(name, text or {"csv": "CSV", "tex": "LaTeX", "md": "Markdown"}[name.rpartition(".")[2]])


class Report(Page):
    """A study's report, whose sections are HTML for a notebook.

    Args:
        view: the study.
        out: folder that takes ``figures/``, ``tables/`` and ``summary.md``.
        columns: of one-column LaTeX tables; by default the study's, else R1 and mAP, and of systems what they cost.
        formats: kinds of file that are kept beside the page; by default all but PNG.
        runs: ids of one or two fits of the study that sections about single runs show; by default its baseline's and
            its last cell's.

    Raises:
        UserError: no such column, kind or fit.
    """

    modules = MODULES

    def __init__(
        self,
        view: StudyView,
        out: Path,
        columns: Sequence[str] = (),
        formats: Collection[str] = (),
        runs: Sequence[str] = (),
    ) -> None:
        super().__init__(out, formats)
        self.view = view
        self.runs = chosen_runs(view, runs)
        usual = SYSTEM_COLUMNS if cells_are_levels(view.plan) else tuple(MAIN_SCORES)
        self.columns = tuple(columns or view.plan.study.get("columns") or usual)
        for name in self.columns:
            if name not in ALL_COLUMNS:
                hint = did_you_mean(name, ALL_COLUMNS)
                raise UserError(f"columns: no table has a column '{name}'{hint}; there are {', '.join(ALL_COLUMNS)}")
        self.families = cache(partial(families, view))

    def paper(self, name: str, tables: Iterable[tuple[str, PaperTable]]) -> list[Html]:
        """Write tables of a paper as ``tables/<name><end>.tex``; returns the links to them.

        A table's label is the study's name and that of the file, so that tables of several protocols and studies stand
        in one paper: ``tab:quick-ablation-2-wide``.
        """
        links = []
        for end, table in tables:
            words = [text for text in ("re-ranked" * ("reranked" in end), "page" if table.wide else "column") if text]
            text = table.latex(f"{self.view.plan.name}-{name}{end}")
            links.append(self.copy(f"tables/{name}{end}.tex", text, f"LaTeX ({', '.join(words)})"))
        return [copy for copy in links if copy]

    def tables(self, *, text: bool = True) -> list[ScoreTable]:
        """Accuracy and cost of every cell, a table per protocol; without ``text`` of image-only ones.

        Corrupted images have a section of their own.
        """
        return [table for table in self._tables if text or not table.key.card.reads_text]

    @cached_property
    def _tables(self) -> list[ScoreTable]:
        return [table for table in score_tables(self.view) if table.key.card.corruption is None]

    @cached_property
    def deployment(self) -> DeploymentView:
        """What the study trained, as it can be deployed, and what the store profiled without training it."""
        return study_deployment(self.view)


def open_report(
    store: str | Path,
    study: str,
    out: str | Path = "",
    stale: Collection[str] | None = None,
    columns: Sequence[str] = (),
    formats: Collection[str] = (),
    runs: Sequence[str] = (),
) -> Report:
    """Open the report of a study, or of one or two fits that no study needs to name.

    Args:
        store: root of the record store; empty: the first that has the study, see ``vireid.report.records.find``.
        study: name of the study; empty where ``runs`` names the fits.
        out: folder that takes ``figures/``, ``tables/`` and ``summary.md``; empty: one that goes with the process.
        stale: ids of records whose component source has changed since they were made; None: not looked.
        columns: of one-column LaTeX tables, such as ``["r1", "mAP", "latency"]``.
        formats: kinds of file beside the page, such as ``["csv", "png"]``; by default all but PNG.
        runs: ids, or their first digits, of the fits that sections about single runs show.

    Raises:
        UserError: no such study, fit, column or kind.
    """
    view = opened_view(store, study, runs, stale)
    return Report(view, Path(out) if out else passing_folder(), columns, formats, runs)


def passing_folder() -> Path:
    """A folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="vireid-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
