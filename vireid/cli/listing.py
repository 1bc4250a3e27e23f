"""Listings for the terminal and for pipes: records of a store, runs of a plan."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from vireid.cli.show import protocol_label
from vireid.core.config import canonical_json
from vireid.core.messages import DASH, counted, precision_name
from vireid.core.table import Table

if TYPE_CHECKING:
    from vireid.core.plan import Plan
    from vireid.core.protocol_card import ProtocolCard
    from vireid.core.record_row import RecordRow

COLUMNS = ("id", "kind", "status", "data", "ended", "result", "what", "stale")


def record_lines(rows: Sequence[RecordRow], stale: Mapping[str, list[str]], width: int | None) -> list[str]:
    """A listing of records, oldest first, a line each; ``stale`` names, by id, what has changed since.

    There may be thousands, so that these are lines and no table. On a terminal of ``width`` columns a line has what
    tells runs apart and is cut at its end; elsewhere (None) lines are whole, their cells separated by tabs.
    """
    ordered = sorted(rows, key=lambda row: str(row.get("ended")))
    entries = [record_entry(row, stale.get(row.id, [])) for row in ordered]
    if width is None:
        lines = [["; ".join(v) if isinstance(v, list) else str(v) for v in entry.values()] for entry in entries]
        return ["\t".join(line) for line in [list(COLUMNS), *lines]]
    shown = [("id", "kind", "ended", "result", "what")]
    for row, entry in zip(ordered, entries, strict=True):
        what = _evaluated(row) if row.kind == "evaluation" and row.status == "ok" else entry["what"]
        failed = "" if entry["status"] == "ok" else f"{entry['status']}: "
        mark = "*" if entry["stale"] else " "
        shown.append((entry["id"] + mark, entry["kind"], entry["ended"][:10], entry["result"], failed + what))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    texts = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in shown]
    texts = [text if len(text) <= width else text[: width - 1] + "…" for text in texts]
    if any(entry["stale"] for entry in entries):
        texts.append("* stale: what made it has changed since; `vireid results show ID` says what")
    return texts


def record_entry(row: RecordRow, stale: Sequence[str]) -> dict[str, Any]:
    """One record as a listing has it, by the names in ``COLUMNS``."""
    what, result = _summary(row)
    values = (row.id, row.kind, row.status, row.get("data_kind"), row.get("ended"), result, what, list(stale))
    return dict(zip(COLUMNS, values, strict=True))


def _evaluated(row: RecordRow) -> str:
    """An evaluation in few columns: what tells those of a fit apart comes first."""
    card = _card(canonical_json(row.part("protocol")))
    settings = card.reranking_settings
    phrases = [
        row.method,
        _file(row),
        card.corruption_label,
        card.mode,
        "" if card.is_plain else f"re-ranked ({settings['name']})",
        f"text {card.text_label}" if card.reads_text else "",
        card.direction,
        f"{card.shots}-shot" if card.shots else "",
        card.name,
        card.split,
    ]
    return f"{str(row.fit)[:6]}: {' · '.join(filter(None, phrases))}"


def _file(row: RecordRow) -> str:
    """What ran the file that was evaluated, and its precision; empty of a trained model itself."""
    runtime = row.part("artefact").get("runtime", {})
    precision = precision_name(str(row.get("artefact", "precision")), runtime)
    return "" if row.graph is None else f"{runtime['name']} {precision}"


@cache
def _card(text: str) -> ProtocolCard:
    """A protocol card; thousands of evaluations share a few."""
    from vireid.core.protocol_card import ProtocolCard

    return ProtocolCard.model_validate_json(text)


def _summary(row: RecordRow) -> tuple[str, str]:
    """What a record is of, and its result."""
    get = row.get
    if row.status != "ok":
        return get("reason") or "", ""
    if row.kind == "fit":
        source, file = get("imported", "source"), get("imported", "file")
        if row.method is not None and file is not None:
            return source, file
        model = get("config", "model", "name")
        if file is not None:
            return f"{model}, weights of {source}", file
        return f"{model}, seed {get('seed')}, {counted(get('curves'), 'epoch')}", f"{get('seconds') or 0:.0f} s"
    if row.kind == "evaluation":
        of = "" if row.method is None else f", {row.method}"
        file = "" if row.graph is None else f"{_file(row)} of "
        return f"{file}{row.fit}{of}: {_protocol(row)}", _mean_ap(row)
    if row.kind == "cost":
        (height, width), macs = get("resolution"), get("macs")
        return f"{get('model', 'name')} {height}×{width}", DASH if macs is None else f"{macs / 1e9:.3f} GMAC"
    if row.kind == "gallery":
        return f"{get('storage')} of {row.fit}: {_protocol(row)}", _mean_ap(row)
    if row.kind == "search":
        what = f"{get('library')}, {get('storage')}, {get('rows')} rows of {get('features')} values"
        return what, _middle(row)
    runtime = f"{get('runtime', 'name')} {get('precision')}, batch {get('batch')}"  # of more columns than 80 the rest
    return f"{runtime}, {counted(get('threads'), 'thread')}", _middle(row)


def _protocol(row: RecordRow) -> str:
    return protocol_label(_card(canonical_json(row.part("protocol"))))


def _mean_ap(row: RecordRow) -> str:
    return f"mAP {100 * (row.get('metrics', 'mAP') or 0):.1f}"


def _middle(row: RecordRow) -> str:
    seconds = row.get("seconds")
    return f"{1e3 * (statistics.median(seconds) if seconds else float('nan')):.2f} ms"


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
