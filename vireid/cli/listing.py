"""Listings for the terminal and for pipes: records of a store, runs of a plan."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vireid.cli import gallery
from vireid.cli.show import protocol_label
from vireid.core.messages import DASH, counted
from vireid.core.table import Table

if TYPE_CHECKING:
    from vireid.core.plan import Plan
    from vireid.core.records import EvaluationRecord, Record

COLUMNS = ("id", "kind", "status", "data", "ended", "result", "what", "stale")


def record_lines(records: Sequence[Record], stale: Mapping[str, list[str]], width: int | None) -> list[str]:
    """A listing of records, oldest first, a line each; ``stale`` names, by id, what has changed since.

    There may be thousands, so that these are lines and no table. On a terminal of ``width`` columns a line has what
    tells runs apart and is cut at its end; elsewhere (None) lines are whole, their cells separated by tabs.
    """
    ordered = sorted(records, key=lambda record: record.ended)
    entries = [record_entry(record, stale.get(record.id, [])) for record in ordered]
    if width is None:
        rows = [["; ".join(v) if isinstance(v, list) else str(v) for v in entry.values()] for entry in entries]
        return ["\t".join(row) for row in [list(COLUMNS), *rows]]
    shown = [("id", "kind", "ended", "result", "what")]
    for record, entry in zip(ordered, entries, strict=True):
        what = _evaluated(record) if record.kind == "evaluation" and record.status == "ok" else entry["what"]
        failed = "" if entry["status"] == "ok" else f"{entry['status']}: "
        mark = "*" if entry["stale"] else " "
        shown.append((entry["id"] + mark, entry["kind"], entry["ended"][:10], entry["result"], failed + what))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]
    lines = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    if any(entry["stale"] for entry in entries):
        lines.append("* stale: what made it has changed since; `vireid results show ID` says what")
    return lines


def record_entry(record: Record, stale: Sequence[str]) -> dict[str, Any]:
    """One record as a listing has it, by the names in ``COLUMNS``."""
    what, result = _summary(record)
    values = (record.id, record.kind, record.status, record.data_kind, record.ended, result, what, list(stale))
    return dict(zip(COLUMNS, values, strict=True))


def _evaluated(record: EvaluationRecord) -> str:
    """An evaluation in few columns: what tells those of a fit apart comes first."""
    card, settings = record.card, record.card.reranking_settings
    again = "" if card.is_plain else f"re-ranked ({settings['name']})"
    file = "" if record.artefact is None else f"{record.artefact.runtime['name']} {record.artefact.precision}"
    shots = f"{card.shots}-shot" if card.shots else ""
    text = f"text {card.text_label}" if card.reads_text else ""
    method = record.source.method or ""
    phrases = [
        method,
        file,
        card.corruption_label,
        card.mode,
        again,
        text,
        card.direction,
        shots,
        card.name,
        card.split,
    ]
    return f"{record.fit[:6]}: {' · '.join(filter(None, phrases))}"


def _summary(record: Record) -> tuple[str, str]:
    """What a record is of, and its result."""
    if record.status != "ok":
        return record.reason or "", ""
    if record.kind == "fit":
        if record.source.method is not None and record.imported is not None:
            return record.imported.source, record.imported.file
        model = record.config["model"]["name"]
        if record.imported is not None:
            return f"{model}, weights of {record.imported.source}", record.imported.file
        return f"{model}, seed {record.seed}, {counted(len(record.curves), 'epoch')}", f"{record.seconds or 0:.0f} s"
    if record.kind == "evaluation":
        file = "" if record.artefact is None else f"{record.artefact.runtime['name']} {record.artefact.precision} of "
        label = protocol_label(record.card)
        of = "" if record.source.method is None else f", {record.source.method}"
        return f"{file}{record.fit}{of}: {label}", f"mAP {100 * record.metrics.get('mAP', 0):.1f}"
    if record.kind == "cost":
        macs = DASH if record.macs is None else f"{record.macs / 1e9:.3f} GMAC"
        return f"{record.model['name']} {record.resolution[0]}×{record.resolution[1]}", macs
    if record.kind == "gallery" or record.kind == "search":
        return gallery.summary(record)
    middle = statistics.median(record.seconds) if record.seconds else float("nan")
    runtime = f"{record.runtime.get('name')} {record.precision}, {counted(record.threads, 'thread')}"
    return f"{runtime}, batch {record.batch}", f"{1e3 * middle:.2f} ms"


def plan_table(plan: Plan, *, terminal: bool) -> Table:
    """The ids of a plan's fits: cells × seeds on a terminal, a row for every fit elsewhere."""
    cells, seeds = counted(len(plan.cells), "cell"), counted(len(plan.seeds), "seed")
    table = Table(f"{plan.name}: {cells} × {seeds}, {plan.design.replace('_', ' ')}")
    if plan.aliases:
        table.caption = "cannot be told apart: " + "; ".join(plan.aliases)
    if not terminal:
        table.add_columns("cell", *plan.factors, "seed", "fit", text=("cell", *plan.factors, "fit"))
        levels = {cell.name: cell.factors for cell in plan.cells}
        for run in plan.runs:
            table.add_row(run.cell, *(levels[run.cell][factor] for factor in plan.factors), str(run.seed), run.fit)
        return table
    heading = f"fits of {'seed' if len(plan.seeds) == 1 else 'seeds'} {', '.join(map(str, plan.seeds))}"
    whole = {"text": (heading,)} if len(plan.seeds) <= 3 else {"wrap": ("cell", heading)}
    table.add_columns("", "cell", heading, **{"wrap": ("cell",), **whole})
    for number, cell in enumerate(plan.cells, start=1):
        fits = {run.seed: run.fit for run in plan.runs if run.cell == cell.name}
        table.add_row(str(number), cell.label, " ".join(fits[seed] for seed in plan.seeds))
    return table
