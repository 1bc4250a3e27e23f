"""What deployment and training cost, and arithmetic beneath two measured roofs (Williams et al., CACM 2009)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.core.messages import DASH
from vireid.core.records import CostRecord
from vireid.report.copies import Copies
from vireid.report.effects.estimate import training_costs
from vireid.report.figures.canvas import GREY, colour, light_grid, new_figure, plain_logarithm, publish, styled
from vireid.report.html import Column, Html, absent, join, table, tag, unfilled, with_ratio
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import TimingKey, as_sentence, grouped, trained_on
from vireid.report.records.study import StudyView
from vireid.report.records.timings import Timing
from vireid.report.tables import COSTS

MACS = next(column for column in COSTS if column.key == "macs")
AGREEMENT = 0.01  # counters further apart than this are pointed out


def render_costs(report: Report, *, training: bool = True) -> Html:
    """What deployment costs and, with ``training``, beside it what training does."""
    return join([_counters(report.view), *([_training_costs(report.view)] if training else [])])


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


def _training_costs(view: StudyView) -> Html:
    """What a configuration costs where it is trained: one block per accelerator, with ratios to the baseline."""
    baseline = view.baseline.name
    deployed = [column for column in COSTS if column.key in ("params", "macs", "latency")]
    columns = [Column("Configuration", text=True)]
    columns += [Column("Step", "ms"), Column("Peak memory", "MB, training")]
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
        blocks.append((f"Trained on {trained_on(accelerator)}", rows))
    if not any(rows for _, rows in blocks):
        return absent("No training cost recorded.")
    caption = (
        "Cost of training beside cost of deployment, with the ratio to the baseline below. Step: mean of the "
        "middle nine tenths of a fit's optimiser steps, median over seeds. Peak memory: the largest over seeds."
    )
    return table(columns, blocks, caption + view.note)


BYTES_PER_VALUE = 4  # of an image's float32 values
CHANNELS = 3


@dataclass(frozen=True)
class Point:
    """One timing beneath its roofs."""

    timing: Timing
    achieved: float  # GFLOP/s, 2 · MACs · batch ÷ p50
    intensity: float  # operations per byte moved at least
    gflops: float  # roof of arithmetic
    bandwidth: float  # GB/s, roof of memory
    arithmetic: str  # numbers that the first roof was measured with, such as float32

    @property
    def attainable(self) -> float:
        """The lower of the two roofs at this intensity, GFLOP/s."""
        return min(self.gflops, self.intensity * self.bandwidth)


def moved_bytes(timing: Timing, cost: CostRecord) -> float | None:
    """Bytes that a forward moves at least: the weights once, as the timed file holds them if known, and the images."""
    weights = timing.size_bytes if timing.size_bytes is not None else cost.size_bytes
    height, width = timing.first.resolution
    return None if weights is None else weights + timing.batch * CHANNELS * height * width * BYTES_PER_VALUE


def roofline_points(deployment: DeploymentView) -> list[Point]:
    """Every shown timing whose record holds the roofs and whose graph's MACs are known."""
    points = []
    for timing in deployment.shown:
        cost = deployment.cost_of(timing.graph)
        gflops, bandwidth = timing.peak("gflops"), timing.peak("bandwidth")
        moved = None if cost is None else moved_bytes(timing, cost)
        if cost is None or cost.macs is None or moved is None or gflops is None or bandwidth is None:
            continue
        operations = 2 * cost.macs * timing.batch
        points.append(
            Point(timing, operations / timing.ms(50) / 1e6, operations / moved, gflops, bandwidth, _arithmetic(timing))
        )
    return points


def _arithmetic(timing: Timing) -> str:
    """Type of the product behind the roof, the last word of its method: int8 networks have a roof of float32."""
    methods = [str(record.peaks["gflops"].get("method", "")) for record in timing.records if "gflops" in record.peaks]
    return methods[0].rpartition(", ")[2] or "unknown arithmetic"


def render_roofline(report: Report) -> Html:
    """One figure per machine, mode and threads, and the table of all points."""
    deployment = report.deployment
    points = roofline_points(deployment)
    if not points:
        return unfilled("No latency record holds the machine's roofs", "vireid profile model=idkl profile=isolated")
    groups = grouped(points, lambda point: point.timing.key)
    figures = [
        _roofline_figure(deployment, key, group, report.copies, f"roofline-{n}")
        for n, (key, group) in enumerate(groups.items(), start=1)
    ]
    return join([*figures, _roofline_table(deployment, groups)])


def _roofline_figure(
    deployment: DeploymentView, key: TimingKey, group: Sequence[Point], out: Copies, name: str
) -> Html:
    runtimes = sorted({point.timing.runtime for point in group})
    kinds = sorted({point.arithmetic for point in group})
    low, high = min(p.intensity for p in group) / 2, max(p.intensity for p in group) * 2
    with styled():
        figure = new_figure(6.5, 3.7)
        axes = figure.add_subplot()
        light_grid(axes, "both")
        for number, kind in enumerate(kinds):
            of_it = [point for point in group if point.arithmetic == kind]
            gflops, bandwidth = max(p.gflops for p in of_it), max(p.bandwidth for p in of_it)
            reach = np.geomspace(min(low, gflops / bandwidth / 2), max(high, 2 * gflops / bandwidth), 200)
            style = ("-", (0, (5, 2)), (0, (1.5, 1.5)))[number % 3]
            roofs = f"roofs of {kind}: {gflops:.0f} GFLOP/s, {bandwidth:.1f} GB/s"
            axes.plot(
                reach, np.minimum(gflops, reach * bandwidth), color=GREY, linestyle=style, linewidth=1.3, label=roofs
            )
        for number, runtime in enumerate(runtimes):
            of_it = [point for point in group if point.timing.runtime == runtime]
            x, y = [p.intensity for p in of_it], [p.achieved for p in of_it]
            mark = "o" if number < 7 else "D"
            axes.scatter(
                x, y, s=22, marker=mark, color=colour(number), edgecolor="white", linewidth=0.6,
                zorder=3, label=runtime,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_logarithm(axis)
        axes.set_xlabel("arithmetic intensity (operations per byte moved, upper bound)")
        axes.set_ylabel("GFLOP/s (2 · MACs ÷ p50)")
        figure.legend(loc="outside lower center", ncols=2)
        caption = (
            f"Roofline on {key}: one point per graph, runtime and batch, beneath the roofs that were measured in the "
            "same process. Bytes: weights (the timed file where its size is known) and images; activations are not "
            f"recorded, so that the true intensity lies further left.{as_sentence(*deployment.notes)}"
        )
        return publish(figure, name, caption, out)


def _roofline_table(deployment: DeploymentView, by_key: dict[TimingKey, list[Point]]) -> Html:
    columns = [Column("Runtime", text=True), Column("Batch"), Column("Achieved", "GFLOP/s")]
    columns += [Column("Intensity", "operations/byte, at most"), Column("Roof of arithmetic", "GFLOP/s")]
    columns += [Column("Roof of memory", "GB/s"), Column("Attainable", "GFLOP/s"), Column("Reached", "%")]
    ordered = (point for points in by_key.values() for point in points)
    groups = grouped(ordered, lambda point: f"{deployment.graph_name(point.timing)} · {point.timing.key}")
    blocks = [(heading, [_roofline_row(point) for point in group]) for heading, group in groups.items()]
    caption = (
        "Achieved arithmetic and the lower of the two roofs at that intensity. The roof of arithmetic is a matrix "
        "product by PyTorch's libraries in the numbers named below it: another precision may reach "
        "more than 100 % of it, and so may any while other work keeps the machine busy."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _roofline_row(point: Point) -> list[str]:
    return [
        point.timing.runtime,
        str(point.timing.batch),
        f"{point.achieved:.1f}",
        f"{point.intensity:.0f}",
        tag("span", f"{point.gflops:.0f}", tag("small", point.arithmetic)),
        f"{point.bandwidth:.1f}",
        f"{point.attainable:.0f}",
        f"{100 * point.achieved / point.attainable:.0f}",
    ]
