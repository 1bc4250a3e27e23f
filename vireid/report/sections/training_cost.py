"""What a configuration costs where it is trained, beside what it costs where it is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vireid.report.effects.estimate import training_costs
from vireid.report.html import Column, Html, absent, table, with_ratio
from vireid.report.tables import COSTS

if TYPE_CHECKING:
    from vireid.report.page import Report


def render(report: Report) -> Html:
    """One block per accelerator, with ratios to the baseline."""
    view, baseline = report.view, report.view.baseline.name
    deployed = [column for column in COSTS if column.key in ("params", "macs", "latency")]
    columns = [Column("Configuration", text=True)]
    columns += [Column("Step", "ms, median"), Column("Peak memory", "MB, training")]
    columns += [Column(column.name, column.unit) for column in deployed]
    blocks = []
    for accelerator in view.accelerators:
        steps, memory = training_costs(view, accelerator)
        cells = [cell.name for cell in view.design_cells if cell.name in steps or cell.name in memory]
        values: list[tuple[dict[str, float | None], int]] = [
            ({cell: 1e3 * value for cell, value in steps.items()}, 1),
            ({cell: value / 1e6 for cell, value in memory.items()}, 0),
        ]
        for column in deployed:
            costs = {cell: column.read(view, cell) for cell in cells}
            values.append((costs, column.decimals(costs.values())))
        rows = []
        for cell in cells:
            reference = [None if cell == baseline else costs.get(baseline) for costs, _ in values]
            entries = zip(values, reference, strict=True)
            rows.append(
                [view.cells[cell].label, *(with_ratio(costs.get(cell), base, n) for (costs, n), base in entries)]
            )
        blocks.append((f"Trained on {accelerator}", rows))
    if not any(rows for _, rows in blocks):
        return absent("No training cost recorded.")
    caption = (
        "Cost of training beside cost of deployment, with the ratio to the baseline below. Step: median over a fit's "
        "optimiser steps, then over seeds. Peak memory: the largest over seeds."
    )
    return table(columns, blocks, caption + view.note)
