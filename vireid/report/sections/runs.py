"""The head of a report on one run, or two against each other: what they are and score, what cannot be shown."""

import textwrap

from vireid.core.messages import DASH
from vireid.report.html import Column, Html, absent, bullets, join, paragraph, table, tag
from vireid.report.page import Report
from vireid.report.records.explained import Explained, main_evaluations, pair_file
from vireid.report.records.keys import SCORES, capitalised
from vireid.report.records.study import TrainedRun
from vireid.report.tables import csv_text


def render_runs(report: Report) -> Html:
    """Title, the runs with their scores, and in a line what needs weights and which commands bring it."""
    view = report.view
    if not report.runs:
        return join([tag("h1", view.plan.title), absent("No run of this study is trained.")])
    labels = [run.cell.label for run in report.runs]
    title = " against ".join(map(capitalised, labels)) if len(labels) > 1 else f"A look into {labels[0]}"
    pieces = [tag("h1", title), paragraph(view.plan.title, class_="lead"), _scores(report)]
    if len(report.runs) > 1:
        command = f"vireid results diff {report.runs[0].fit.id} {report.runs[1].fit.id}"
        pieces.append(paragraph("What sets them apart: ", tag("code", command), class_="method"))
    if view.note:
        pieces.append(tag("p", tag("strong", view.note.strip()), class_="notice"))
    missing = [Explained(view, run) for run in report.runs if not Explained(view, run).settings]
    unpaired = len(report.runs) > 1 and not missing and Explained(view, report.runs[1]).json(_pair(report)) is None
    if missing or unpaired:
        pieces.append(_what_is_missing(report, missing))
    return join(pieces)


def _pair(report: Report) -> str:
    return pair_file(report.runs[0].fit.id)


def _scores(report: Report) -> Html:
    evaluations = main_evaluations(report.runs)
    columns = [Column("Run", text=True), Column("Id", text=True), Column("Configuration", text=True), Column("Seed")]
    columns += [Column(name, "%") for name in SCORES.values()]
    rows, copies = [], []
    for number, run in enumerate(report.runs):
        scores = evaluations[number].metrics if evaluations else {}
        values = [f"{100 * scores[name]:.1f}" if name in scores else DASH for name in SCORES]
        rows.append([letter(number), tag("code", run.fit.id), run.cell.label, str(run.seed), *values])
        named = {"run": run.fit.id, "configuration": run.cell.label, "seed": run.seed}
        copies.append(named | {name: scores.get(name) for name in SCORES})
    copy = report.copy("tables/runs.csv", csv_text(copies))
    if evaluations is None:
        return table(
            columns, [("", rows)], "They share no protocol of plain search, so that no score stands here.", copy
        )
    card = evaluations[-1].card
    return table(columns, [("", rows)], f"Under {card.full_title}, split {card.split}.{report.view.note}", copy)


def _what_is_missing(report: Report, missing: list[Explained]) -> Html:
    gone = [explained for explained in missing if not explained.has_weights]
    explain = " ".join(["vireid explain", *(run.fit.id for run in report.runs), "--report"])
    what = "Maps, similarities, heat maps and pictures come from the weights"
    if not gone:
        return tag("div", paragraph(f"{what}: ", tag("code", explain), " adds them."), class_="warning")
    items = []
    for explained in gone:
        run = explained.run
        made = explained.command() or f"vireid results show {run.fit.id}"
        items.append(tag("span", f"{_name(run)}: ", tag("code", made)))
    lead = f"{what}, which are not beside the records. These train them, then "
    return tag("div", paragraph(lead, tag("code", explain), " adds them:"), bullets(items), class_="warning")


def _name(run: TrainedRun) -> str:
    return f"{run.cell.label}, seed {run.seed}"


def letter(number: int) -> str:
    """What a run is called for short: A, then B."""
    return "AB"[number]


def short_label(label: str, width: int) -> str:
    """A label on as many lines as it takes."""
    return "\n".join(textwrap.wrap(label, width))


def needs_weights(report: Report, *lacking: Explained) -> Html:
    """In place of a section: whose material is not there, and where the command that makes it stands."""
    names = " and ".join(explained.run.cell.label for explained in lacking)
    if not all(explained.has_weights for explained in lacking):
        return absent(f"Needs the weights of {names}; the commands stand at the top of this page.")
    command = tag("code", " ".join(["vireid explain", *(run.fit.id for run in report.runs), "--report"]))
    return absent(f"Of {names} nothing is written yet: ", command, " fills this section.")
