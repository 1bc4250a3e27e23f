"""Cost sections: counters side by side, latency per condition, and what training took."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from vireid.core.records import CostRecord, FitRecord
from vireid.report.effects.estimate import training_costs
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, paragraph, table, tag
from vireid.report.load import StudyView
from vireid.report.tables import COSTS

_DASH = "–"
MACS = next(column for column in COSTS if column.key == "macs")
AGREEMENT = 0.01  # counters further apart than this are pointed out


def counters_table(view: StudyView) -> Fragment:
    """Each cell's parameters and its MACs by every counter, their disagreement, and operators that were not counted."""
    if not view.costs:
        return paragraph("No cost recorded.", class_="absent")
    names = list(dict.fromkeys(str(c.get("name", "?")) for cost in view.costs.values() for c in cost.counters))
    columns = [Column("Configuration", text=True)]
    columns += [Column("Params", f"M, {kind}") for kind in ("deployed", "training only", "dead")]
    columns += [Column("Weights", "MB")]
    columns += [Column(name, "GMAC per image") for name in names]
    columns += [Column("Apart", "%"), Column("Not counted, or wrong", text=True)]
    counted = [c.get("macs") for cost in view.costs.values() for c in cost.counters]
    places = MACS.decimals(None if value is None else float(value) / 1e9 for value in counted)
    groups = view.sharing(lambda cost: (cost.artefact, *sorted(cost.parameters.items())))
    rows = [_counter_row(view.group_label(cells), view.costs[cells[0]], names, places) for cells in groups]
    sizes = ", ".join(sorted({f"{h}×{w}" for h, w in (cost.resolution for cost in view.costs.values())}))
    images = ", ".join(sorted({str(cost.images_per_forward) for cost in view.costs.values()}))
    conventions = "; ".join(sorted({cost.convention for cost in view.costs.values()}))
    caption = (
        f"Cost of the deployed graph at {sizes} pixels, {images} image per forward pass; {conventions}. "
        "Each counter counts on a copy of the model; operators it has no rule for are listed, not hidden. "
        f"Marked where counters are more than {100 * AGREEMENT:.0f} % apart, with which is right and which "
        "is wrong there. Configurations of equal cost share a row."
    )
    return table(columns, [Rows("", rows)], caption + view.note)


def _counter_row(label: str, cost: CostRecord, names: list[str], places: int) -> list[Content]:
    by_name = {str(counter.get("name", "?")): counter for counter in cost.counters}
    parameters: list[Content] = [
        f"{cost.parameters[key] / 1e6:.2f}" if key in cost.parameters else _DASH
        for key in ("deployed", "training_only", "dead")
    ]
    size = _DASH if cost.size_bytes is None else f"{cost.size_bytes / 1e6:.1f}"
    counted: list[Content] = []
    missed: list[Content] = []
    for name in names:
        counter = by_name.get(name, {})
        value = counter.get("macs")
        fault = counter.get("reason")
        counted.append(f"{float(value) / 1e9:.{places}f}" if value is not None else "failed" if fault else _DASH)
        if fault:
            missed.append(tag("div", f"{name}: {fault}", class_="bad"))
        if uncounted := _operators(counter.get("uncounted")):
            missed.append(tag("div", f"{name}: {uncounted}"))
        if (verdict := counter.get("verdict")) and not counter.get("headline"):
            missed.append(tag("div", f"{name}: {verdict}"))
    apart: Content = _DASH
    if cost.disagreement is not None:
        text = f"{100 * cost.disagreement:.1f}"
        apart = tag("span", text, class_="bad") if cost.disagreement > AGREEMENT else text
    return [label, *parameters, size, *counted, apart, tag("small", join(missed)) if missed else "nothing"]


def _operators(uncounted: object) -> str:
    if isinstance(uncounted, Mapping):
        return ", ".join(f"{name} ({count}×)" for name, count in sorted(uncounted.items()))
    if isinstance(uncounted, list | tuple):
        return ", ".join(sorted(map(str, uncounted)))
    return str(uncounted) if uncounted else ""


def latency_table(view: StudyView) -> Fragment:
    """Percentiles per condition and cell; unlike conditions stand in blocks of their own."""
    remarks = [*(f"Not measured: {words}" for words in view.unmeasured), *view.latency_notes]
    below = tag("div", bullets(remarks), class_="method") if remarks else Fragment("")
    if not view.latency:
        return paragraph("No latency measured.", class_="absent") + below
    columns = [Column("Configuration", text=True)]
    columns += [Column(name, "ms") for name in ("Median", "p5", "p95", "p99")]
    columns += [Column("Throughput", "images/s"), Column("Against baseline", "median"), Column("Samples")]
    blocks = []
    for condition, cells in view.latency.items():
        reference = cells.get(view.baseline.name)
        rows: list[list[Content]] = []
        for label, samples in view.graphs_in(condition):
            low, middle, high, highest = np.percentile(samples, [5, 50, 95, 99])
            ratio = f"×{middle / statistics.median(reference):.2f}" if reference else _DASH
            rows.append(
                [
                    label,
                    *(f"{1e3 * value:.2f}" for value in (middle, low, high, highest)),
                    f"{condition.batch / middle:.0f}",
                    ratio,
                    str(len(samples)),
                ]
            )
        blocks.append(Rows(str(condition), rows))
    caption = (
        "Latency of one forward pass of the deployed graph, from raw samples. Blocks differ in runtime, precision, "
        "batch, threads or machine and are never merged. Configurations with one deployed graph share a row."
    )
    return table(columns, blocks, caption + view.note) + below


def training_cost_table(view: StudyView) -> Fragment:
    """What a configuration costs where it is trained, beside what it costs where it is deployed."""
    accelerators = list(dict.fromkeys(run.fit.environment.accelerator for run in view.runs if run.fit is not None))
    deployed = [column for column in COSTS if column.key in ("params", "macs", "latency")]
    columns = [Column("Configuration", text=True)]
    columns += [Column("Step", "ms, median"), Column("Peak memory", "MB, training")]
    columns += [Column(column.name, column.unit) for column in deployed]
    blocks: list[Rows] = []
    for accelerator in accelerators:
        steps, memory = training_costs(view, accelerator)
        cells = [cell.name for cell in view.design_cells if cell.name in steps or cell.name in memory]
        read = [{cell: column.read(view, cell) for cell in cells} for column in deployed]
        columns_of: list[tuple[Mapping[str, float | None], int]] = [
            ({cell: 1e3 * steps[cell] for cell in cells if cell in steps}, 1),
            ({cell: memory[cell] / 1e6 for cell in cells if cell in memory}, 0),
            *((values, column.decimals(values.values())) for column, values in zip(deployed, read, strict=True)),
        ]
        rows: list[list[Content]] = [
            [
                view.cells[cell].label,
                *(_beside(values, cell, view.baseline.name, places) for values, places in columns_of),
            ]
            for cell in cells
        ]
        blocks.append(Rows(f"Trained on {accelerator}", rows))
    if not any(block.rows for block in blocks):
        return paragraph("No training cost recorded.", class_="absent")
    caption = (
        "Cost of training beside cost of deployment, with the ratio to the baseline below. Step: median over a fit's "
        "optimiser steps, then over seeds. Peak memory: the largest over seeds."
    )
    return table(columns, blocks, caption + view.note)


def _beside(values: Mapping[str, float | None], cell: str, baseline: str, places: int) -> Content:
    """A value with its ratio to the baseline's in small print."""
    value, reference = values.get(cell), values.get(baseline)
    if value is None:
        return _DASH
    ratio = f"×{value / reference:.2f}" if reference and cell != baseline else ""
    return tag("span", f"{value:.{places}f}", tag("small", ratio))


def training_table(view: StudyView) -> Fragment:
    """What each fit took: time, step time, memory, machine."""
    columns = [
        Column("Configuration", text=True),
        Column("Seed"),
        Column("Epochs"),
        Column("Steps"),
        Column("Time", "s"),
        Column("Step", "ms, median"),
        Column("Peak memory", "MB"),
        Column("Trained on", text=True),
        Column("Run", text=True),
    ]
    rows = [_training_row(run.cell.label, run.fit, stale=run.stale) for run in view.runs if run.fit is not None]
    if not rows:
        return paragraph("No finished training.", class_="absent")
    caption = "Training: one row per fit. Peak memory is of the process on CPU, of the allocator on an accelerator."
    return table(columns, [Rows("", rows)], caption + view.note)


def _training_row(label: str, fit: FitRecord, *, stale: bool) -> list[Content]:
    mark: Content = tag("span", label, " ", tag("span", "stale", class_="badge")) if stale else label
    return [
        mark,
        str(fit.seed),
        str(len(fit.curves)),
        str(len(fit.step_seconds)),
        _DASH if fit.seconds is None else f"{fit.seconds:.0f}",
        f"{1e3 * statistics.median(fit.step_seconds):.0f}" if fit.step_seconds else _DASH,
        _DASH if fit.peak_memory_bytes is None else f"{fit.peak_memory_bytes / 1e6:.0f}",
        f"{fit.environment.accelerator}, {fit.environment.threads} threads",
        tag("code", fit.id),
    ]
