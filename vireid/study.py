"""Studies in Python: ``vireid.load_study("optimized_idkl")`` gives scores and effects as DataFrames.

What a study says is computed by the report's own code, so that a notebook and a page never disagree.
"""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import counted

if TYPE_CHECKING:
    import pandas as pd

    from vireid.report.page import Report
    from vireid.report.records.keys import AccuracyKey
    from vireid.report.records.study import StudyView
    from vireid.report.section import Section


class Study:
    """A study's plan joined with its records.

    Args:
        root: of the store that holds them.
        name: of the study there.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name

    @cached_property
    def view(self) -> StudyView:
        """Everything that reports read, typed: plan, cells, runs, records."""
        from vireid.experiment.sources import stale_parts
        from vireid.report.records.study import StudyView, read_plan
        from vireid.store import Store

        store = Store(self.root)
        named = read_plan(store, self.name).decisive
        return StudyView(store, self.name, stale=stale_parts(row for row in store.rows() if row.id in named))

    @property
    def title(self) -> str:
        """Its title."""
        return self.view.plan.title

    @property
    def note(self) -> str:
        """What goes with every number on synthetic data; empty for real data."""
        return self.view.note.strip()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per fit and protocol.

        Columns: cell, label and a level for every factor; seed, fit, evaluation; protocol, mode, direction, text,
        reranking, data, accelerator; r1 to mINP as fractions; stale, where a component has changed since.
        """
        import pandas as pd

        from vireid.report.records.keys import METRICS

        fits = {(run.cell.name, run.seed): run.planned.fit for run in self.view.runs}
        rows: list[dict[str, object]] = []
        for row in self.view.scores.to_dict("records"):
            key: AccuracyKey = row["key"]
            cell = self.view.cells[row["cell"]]
            rows.append(
                {
                    "cell": cell.name,
                    "label": cell.label,
                    "control": cell.control,
                    **{factor: cell.factors.get(factor) for factor in self.view.plan.factors},
                    "seed": row["seed"],
                    "fit": fits[cell.name, row["seed"]],
                    "evaluation": row["evaluation"],
                    "protocol": key.title,
                    "mode": key.card.mode,
                    "direction": key.card.direction,
                    "text": key.card.text_label if key.card.reads_text else "none",
                    "data": key.data,
                    "accelerator": key.accelerator,
                    "reranking": row["reranking"],
                    **{name: row[name] for name in METRICS},
                    "stale": row["stale"],
                }
            )
        return pd.DataFrame(rows)

    def effects(self, metric: str | None = None) -> pd.DataFrame:
        """What every toggle is worth, with interval and p values, as the report computes them.

        Args:
            metric: ``mAP`` or ``r1``, or another of the scores; by default these two.

        Returns:
            One row per effect, protocol, re-ranking and metric; differences as fractions.

        Raises:
            UserError: no such metric.
        """
        import pandas as pd

        from vireid.report.effects.phrases import Names, effect_rows
        from vireid.report.records.keys import MAIN_SCORES, METRICS

        if metric is not None and metric not in METRICS:
            raise UserError(f"metric '{metric}': no such score{did_you_mean(metric, METRICS)}")
        names = Names(self.view)
        chosen = list(MAIN_SCORES) if metric is None else [metric]
        return pd.DataFrame([row for name in chosen for row in effect_rows(self.report.families(name), names)])

    def table(self, name: str, **choices: Any) -> Section:
        """A section of the report by its name: shows itself in a notebook, has ``.frame`` and ``.to_latex()``.

        Args:
            name: such as ``ablation``, ``effects``, ``systems``, ``differences``, ``front``.
            choices: what the section leaves open.

        Raises:
            UserError: no such section.
        """
        return self.report.section(name, **choices)

    @cached_property
    def report(self) -> Report:
        """Its report, whose sections write their copies into a folder that goes with the process."""
        from vireid.report.page import Report, passing_folder

        return Report(self.view, passing_folder())

    def __repr__(self) -> str:
        view = self.view
        cells, seeds = counted(len(view.plan.cells), "cell"), counted(len(view.plan.seeds), "seed")
        finished = f"{view.finished} of {counted(len(view.runs), 'run')} complete"
        return f"Study '{self.name}': {cells} × {seeds}, {finished}, in {self.root}"

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{escape(text)}</p>" for text in (repr(self), self.note) if text)
        return f"<h3>{escape(self.title)}</h3>{remarks}{self.table('ablation')}"


def load_study(study: str | Path, store: str | Path | None = None) -> Study:
    """Open a study by its name, or by its folder or plan.

    Args:
        study: such as ``"optimized_idkl"``, or ``results/studies/optimized_idkl``.
        store: root or URL of the store that holds it; by default the first of ``VIREID_STORE``, ``results/local`` and
            ``results`` of the working folder, and the results that come with the suite.

    Raises:
        UserError: there is none; the message lists those that there are.
    """
    from vireid.report.records.find import find_study

    return Study(*find_study(study, store))


def studies(store: str | Path | None = None) -> list[str]:
    """Names of the studies that ``load_study`` finds.

    Args:
        store: root of a store; by default all that ``load_study`` looks into.
    """
    from vireid.report.records.find import known_studies

    return known_studies(store)
