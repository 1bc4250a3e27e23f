"""Where every number comes from: the records of each fit, one click away."""

import os
from pathlib import Path

from vireid.report.html import Column, Html, absent, join, link, table, tag
from vireid.report.page import Report
from vireid.report.records.study import StudyView


def anchor(view: StudyView, cell: str) -> str:
    """Name of the place on the page where a cell's records are listed."""
    return f"records-{list(view.cells).index(cell) + 1}"


def render_records(report: Report) -> Html:
    """A row per run with its fit, evaluations and cost; links where the page lies in the store of the records."""
    view = report.view
    columns = [Column("Configuration", text=True), Column("Seed"), Column("Fit", text=True)]
    columns += [Column("Evaluations", text=True), Column("Cost", text=True)]
    rows, named = [], set[str]()
    for run in view.runs:
        first = run.cell.name not in named
        named.add(run.cell.name)
        label = tag("span", run.cell.label, id=anchor(view, run.cell.name) if first else None)
        deployed = [id_ for id_ in run.planned.deployed if id_ in view.records]  # of other machines they have other ids
        ids = [run.planned.fit], [*run.planned.evaluations, *deployed], [run.planned.cost]
        rows.append(
            [label, str(run.planned.seed), *(join((_record(report, id_) for id_ in group), " ") for group in ids)]
        )
    if not rows:
        return absent("No runs are planned.")
    caption = (
        "What every number of this page rests on. A record is JSON with configuration, protocol card, environment and "
        "raw samples; vireid results show ID prints it with the command that makes it again."
    )
    return table(
        columns, [("", rows)], caption, folded=f"{len(rows)} run{'s' if len(rows) > 1 else ''} and their records"
    )


def _record(report: Report, id_: str) -> Html:
    """A record's id, as a link to its file where it is there."""
    record = report.view.records.get(id_)
    if record is None:
        return tag("span", id_, class_="bad", title="not there")
    file = report.view.store.runs / f"{id_}.json"
    name, store = tag("code", id_), report.view.store.root
    return link(_beside(file, report.out), name) if report.out.resolve().is_relative_to(store.resolve()) else name


def _beside(file: Path, page: Path) -> str:
    return Path(os.path.relpath(file, page)).as_posix()
