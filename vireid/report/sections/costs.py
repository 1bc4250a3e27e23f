"""Parameters, and MACs by every counter side by side, because counters disagree and miss operators; training costs."""

from collections.abc import Mapping

from vireid.core.messages import DASH
from vireid.core.records import CostRecord
from vireid.report.effects.estimate import training_costs
from vireid.report.html import Column, Html, absent, join, table, tag, with_ratio
from vireid.report.page import Report
from vireid.report.records.study import StudyView
from vireid.report.tables import COSTS

MACS = next(column for column in COSTS if column.key == "macs")
AGREEMENT = 0.01  # counters further apart than this are pointed out


def render(report: Report, *, training: bool = True) -> Html:
    """What deployment costs and, with ``training``, beside it what training does."""
    return join([_counters(report.view), *([_training(report.view)] if training else [])])


def _counters(view: StudyView) -> Html:
    """Each cell's parameters and its MACs by every counter, their disagreement, and operators that were not counted."""
    if not view.costs:
        return absent("No cost recorded.")
    names = list(dict.fromkeys(str(c.get("name", "?")) for cost in view.costs.values() for c in cost.counters))
    columns = [Column("Configuration", text=True)]
    columns += [Column("Params", f"M, {kind}") for kind in ("deployed", "training only", "dead")]
    columns += [Column("Weights", "MB")]
    columns += [Column(name, "GMAC per image") for name in names]
    columns += [Column("Apart", "%"), Column("Not counted, or wrong", text=True)]
    counted = [c.get("macs") for cost in view.costs.values() for c in cost.counters]
    digits = MACS.decimals(None if value is None else float(value) / 1e9 for value in counted)
    groups = view.sharing(lambda cost: (cost.artefact, *sorted(cost.parameters.items())))
    rows = [_counter_row(view.group_label(cells), view.costs[cells[0]], names, digits) for cells in groups]
    sizes = ", ".join(sorted({f"{h}×{w}" for h, w in (cost.resolution for cost in view.costs.values())}))
    images = ", ".join(sorted({str(cost.images_per_forward) for cost in view.costs.values()}))
    conventions = "; ".join(sorted({cost.convention for cost in view.costs.values()}))
    caption = (
        f"Cost of the deployed graph at {sizes} pixels, {images} image per forward pass; {conventions}. "
        "Each counter counts on a copy of the model; operators it has no rule for are listed, not hidden. "
        f"Marked where counters are more than {100 * AGREEMENT:.0f} % apart, with which is right and which "
        "is wrong there. Configurations of equal cost share a row."
    )
    return table(columns, [("", rows)], caption + view.note)


def _counter_row(label: str, cost: CostRecord, names: list[str], digits: int) -> list[str]:
    by_name = {str(counter.get("name", "?")): counter for counter in cost.counters}
    parameters = [
        f"{cost.parameters[key] / 1e6:.2f}" if key in cost.parameters else DASH
        for key in ("deployed", "training_only", "dead")
    ]
    size = DASH if cost.size_bytes is None else f"{cost.size_bytes / 1e6:.1f}"
    counted: list[str] = []
    missed: list[str] = []
    for name in names:
        counter = by_name.get(name, {})
        value = counter.get("macs")
        fault = counter.get("reason")
        counted.append(f"{float(value) / 1e9:.{digits}f}" if value is not None else "failed" if fault else DASH)
        if fault:
            missed.append(tag("div", f"{name}: {fault}", class_="bad"))
        if uncounted := _operators(counter.get("uncounted")):
            missed.append(tag("div", f"{name}: {uncounted}"))
        if (verdict := counter.get("verdict")) and not counter.get("headline"):
            missed.append(tag("div", f"{name}: {verdict}"))
    apart: str = DASH
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


def _training(view: StudyView) -> Html:
    """What a configuration costs where it is trained: one block per accelerator, with ratios to the baseline."""
    baseline = view.baseline.name
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
