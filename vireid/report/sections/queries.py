"""Single queries: the best and the worst of a run, and those that changed most from one run to another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from vireid.core.protocol_card import ProtocolCard
from vireid.report.figures.canvas import (
    GREY,
    NEGATIVE,
    OKABE_ITO,
    PAGE,
    POSITIVE,
    light_grid,
    new_figure,
    publish,
    styled,
)
from vireid.report.html import Column, Html, absent, join, paragraph, table
from vireid.report.page import Report
from vireid.report.records.explained import (
    QUERIES,
    Explained,
    by_query,
    changes_by_query,
    main_evaluations,
    most_changed,
    pair_file,
)
from vireid.report.records.keys import signed
from vireid.report.sections.retrieval import ranked_panel
from vireid.report.sections.runs import needs_weights, short_label
from vireid.report.tables import frame_csv

LISTED = 6  # best and worst queries
PICTURED = 4  # of these, with their ranked lists


def render_extreme_queries(report: Report) -> Html:
    """Best and worst queries of the last of the runs, with their ranked lists where pictures were made."""
    loaded = _per_query(report)
    if loaded is None:
        return absent("No per-query records beside the scores of these runs.")
    run = report.runs[-1]
    queries = by_query(loaded[-1]).reset_index()
    ordered = queries.sort_values(["ap", "query"], ascending=[False, True], ignore_index=True)
    best, worst = (_of_people(side) for side in (ordered, ordered.iloc[::-1]))
    blocks = [("Best", _rows(best)), ("Worst", _rows(worst))]
    columns = [
        Column("Query", text=True),
        Column("Identity"),
        Column("Camera"),
        Column("AP", "%"),
        Column("First hit", "rank"),
    ]
    copy = report.copy("tables/queries.csv", frame_csv(ordered))
    caption = (
        f"{run.cell.label}: the {LISTED} best and the {LISTED} worst of {len(ordered)} queries, one of a person. AP is "
        f"the mean over all trials, the rank of the first hit their median.{report.view.note}"
    )
    pieces = [table(columns, blocks, caption, copy)]
    explained = Explained(report.view, run)
    content = explained.json(QUERIES)
    if content is None:
        return join([*pieces, needs_weights(report, explained)])
    under = ProtocolCard.model_validate(content["protocol"]).full_title
    for kind, what in (("best", "highest"), ("worst", "lowest")):
        caption = (
            f"{run.cell.label}: ranked lists of the queries with the {what} AP in the first trial ({under}), few of "
            f"one person; ✓, green: same identity, ✗, red: another.{report.view.note}"
        )
        shown = content[kind][:PICTURED]
        path = explained.folder / QUERIES
        pieces.append(ranked_panel(shown, path, run.fit.id, caption, report.copies, f"queries-{kind}"))
    return join(pieces)


def _of_people(ordered: pd.DataFrame) -> pd.DataFrame:
    """The first queries, one of a person."""
    return ordered.drop_duplicates("identity").head(LISTED)


def _rows(queries: pd.DataFrame) -> list[list[str]]:
    return [
        [str(query), str(identity), str(camera), f"{100 * ap:.1f}", f"{rank:g}"]
        for query, identity, camera, ap, rank in queries[
            ["query", "identity", "camera", "ap", "first_hit_rank"]
        ].itertuples(index=False)
    ]


def render_changed_queries(report: Report) -> Html:
    """Change of every query's AP from the first run to the second; the most improved and worsened with their lists."""
    if len(report.runs) < 2:
        return absent("One run: name two to see which queries change.")
    loaded = _per_query(report)
    if loaded is None:
        return absent("No per-query records under a protocol that both runs share.")
    before, after = report.runs
    changes = changes_by_query(*loaded)
    improved, worsened = (most_changed(changes, improved=better) for better in (True, False))
    copy = report.copy("tables/changed-queries.csv", frame_csv(changes))
    columns = [
        Column("Query", text=True), Column("Identity"), Column("Camera"), Column("A", "AP %"),
        Column("B", "AP %"), Column("Change", "points"), Column("First hit", "rank"),
    ]  # fmt: skip
    blocks = [("Most improved", _changed_rows(improved)), ("Most worsened", _changed_rows(worsened))]
    up, down = int((changes["change"] > 0).sum()), int((changes["change"] < 0).sum())
    caption = (
        f"A: {before.cell.label}. B: {after.cell.label}. Of {len(changes)} queries {up} improved, {down} worsened, "
        f"{len(changes) - up - down} stayed as they were. AP is the mean over all trials; one query a person at most."
        f"{report.view.note}"
    )
    pieces = [_drawing(report, changes), table(columns, blocks, caption, copy)]
    explained = Explained(report.view, after)
    content = explained.json(pair_file(before.fit.id))
    if content is None:
        return join([*pieces, needs_weights(report, *(Explained(report.view, run) for run in report.runs))])
    for direction in ("improved", "worsened"):
        lines = _lines(content[direction])
        if not lines:
            pieces.append(paragraph(f"No query {direction}.", class_="method"))
            continue
        caption = (
            f"The queries that {direction} most, each as ranked by {before.cell.label} (A) and below it by "
            f"{after.cell.label} (B), first trial.{report.view.note}"
        )
        path = explained.folder / pair_file(before.fit.id)
        name = f"queries-{direction}"
        pieces.append(ranked_panel(lines, path, after.fit.id, caption, report.copies, name))
    return join(pieces)


def _lines(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry[side] | {"note": mark} for entry in entries for side, mark in (("before", "A"), ("after", "B"))]


def _changed_rows(queries: pd.DataFrame) -> list[list[str]]:
    shown = queries[["query", "identity", "camera", "ap_before", "ap", "change", "rank_before", "first_hit_rank"]]
    return [
        [str(query), str(identity), str(camera), f"{100 * first:.1f}", f"{100 * ap:.1f}", signed(100 * change),
         f"{rank_before:g} → {rank:g}"]
        for query, identity, camera, first, ap, change, rank_before, rank in shown.itertuples(index=False)
    ]  # fmt: skip


def _drawing(report: Report, changes: pd.DataFrame) -> Html:
    """Every query's AP by either run, and the distribution of the changes."""
    before, after = report.runs
    with styled():
        figure = new_figure(PAGE, 2.8)
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.25]})
        light_grid(left, "both")
        left.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
        better = np.where(changes["change"] >= 0, "better or as it was", "worse")
        sns.scatterplot(
            x=100 * changes["ap_before"], y=100 * changes["ap"], hue=better, hue_order=["better or as it was", "worse"],
            palette=[POSITIVE, NEGATIVE], s=9, linewidth=0, alpha=0.5, legend=False, rasterized=True, ax=left,
        )  # fmt: skip
        left.set_xlabel(short_label(f"AP by A ({before.cell.label}), %", 44))
        left.set_ylabel(short_label(f"AP by B ({after.cell.label}), %", 40))
        left.set_aspect("equal")
        light_grid(right)
        change = 100 * changes["change"]
        sns.histplot(x=change, bins=41, color=OKABE_ITO[4], linewidth=0, ax=right)
        right.axvline(0, color=GREY, linewidth=0.8)
        mean = float(change.mean())
        right.axvline(mean, color=OKABE_ITO[0], linestyle=(0, (5, 2)), label=f"mean {signed(mean)}")
        right.set_xlabel("change of AP, percentage points")
        right.set_ylabel("queries")
        right.legend(loc="upper left")
        caption = (
            f"AP of every query by A, {before.cell.label}, and by B, {after.cell.label}: above the line (green) B is "
            f"better. Right: how many queries changed by how much.{report.view.note}"
        )
        return publish(figure, "changed-queries", caption, report.copies)


def _per_query(report: Report) -> list[pd.DataFrame] | None:
    """Per-query records of the runs under the protocol that they share; None where one has none."""
    evaluations = main_evaluations(report.runs)
    tables = [report.view.per_query(evaluation) for evaluation in evaluations or []]
    kept = [one for one in tables if one is not None]
    return kept if kept and len(kept) == len(report.runs) else None
