"""Achieved arithmetic against the machine's two measured roofs (Williams et al., CACM 2009)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vireid.core.records import CostRecord
from vireid.report.figures.canvas import GREY, colour, light_grid, new_figure, plain_logarithm, publish, styled
from vireid.report.html import Column, Html, join, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import TimingKey
from vireid.report.records.labels import as_sentence
from vireid.report.records.timings import Timing

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


def render(report: Report) -> Html:
    """One figure per machine, mode and threads, and the table of all points."""
    deployment = report.deployment
    points = roofline_points(deployment)
    if not points:
        return unfilled("No latency record holds the machine's roofs", "vireid profile model=idkl profile=isolated")
    groups: dict[TimingKey, list[Point]] = {}
    for point in points:
        groups.setdefault(point.timing.key, []).append(point)
    figures = [
        _figure(deployment, key, own, report.out, f"roofline-{n}")
        for n, (key, own) in enumerate(groups.items(), start=1)
    ]
    return join([*figures, _table(deployment, groups)])


def _figure(deployment: DeploymentView, key: TimingKey, own: Sequence[Point], out: Path, name: str) -> Html:
    runtimes = sorted({point.timing.runtime for point in own})
    kinds = sorted({point.arithmetic for point in own})
    low, high = min(p.intensity for p in own) / 2, max(p.intensity for p in own) * 2
    with styled():
        figure = new_figure(8.2, 4.6)
        axes = figure.add_subplot()
        light_grid(axes, "both")
        for number, kind in enumerate(kinds):
            of_it = [point for point in own if point.arithmetic == kind]
            gflops, bandwidth = max(p.gflops for p in of_it), max(p.bandwidth for p in of_it)
            reach = np.geomspace(min(low, gflops / bandwidth / 2), max(high, 2 * gflops / bandwidth), 200)
            style = ("-", (0, (5, 2)), (0, (1.5, 1.5)))[number % 3]
            roofs = f"roofs of {kind}: {gflops:.0f} GFLOP/s, {bandwidth:.1f} GB/s"
            axes.plot(
                reach, np.minimum(gflops, reach * bandwidth), color=GREY, linestyle=style, linewidth=1.3, label=roofs
            )
        for number, runtime in enumerate(runtimes):
            of_it = [point for point in own if point.timing.runtime == runtime]
            x, y = [p.intensity for p in of_it], [p.achieved for p in of_it]
            mark = "o" if number < 7 else "D"
            axes.scatter(
                x, y, s=34, marker=mark, color=colour(number), edgecolor="white", linewidth=0.6,
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


def _table(deployment: DeploymentView, by_key: dict[TimingKey, list[Point]]) -> Html:
    columns = [Column("Runtime", text=True), Column("Batch"), Column("Achieved", "GFLOP/s")]
    columns += [Column("Intensity", "operations/byte, at most"), Column("Roof of arithmetic", "GFLOP/s")]
    columns += [Column("Roof of memory", "GB/s"), Column("Attainable", "GFLOP/s"), Column("Reached", "%")]
    groups: dict[str, list[Point]] = {}
    for key, own in by_key.items():
        for point in own:
            groups.setdefault(f"{deployment.graph_name(point.timing)} · {key}", []).append(point)
    blocks = [(heading, [_row(point) for point in own]) for heading, own in groups.items()]
    caption = (
        "Achieved arithmetic and the lower of the two roofs at that intensity. The roof of arithmetic is a matrix "
        "product by PyTorch's libraries in the numbers named below it: another precision may reach "
        "more than 100 % of it, and so may any while other work keeps the machine busy."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _row(point: Point) -> list[str]:
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
