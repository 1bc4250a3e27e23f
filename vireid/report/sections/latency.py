"""Latency of the study's graphs: raw samples and percentiles, block by block of what may be compared."""

from pathlib import Path

import numpy as np

from vireid.core.messages import DASH
from vireid.report.figures.canvas import colour, light_grid, publish, small_multiples, styled
from vireid.report.html import Column, Html, absent, bullets, join, table, tag
from vireid.report.page import Report
from vireid.report.records.study import StudyView


def render(report: Report) -> Html:
    """Figure and table, and what was not measured."""
    view = report.view
    remarks = [*(f"Not measured: {reason}" for reason in view.unmeasured), *view.latency_notes]
    below = [tag("div", bullets(remarks), class_="method")] if remarks else []
    figure = _samples(view, report.out)
    return join([figure, _table(view) if view.latency else absent("No latency measured."), *below])


def _table(view: StudyView) -> Html:
    columns = [Column("Configuration", text=True)]
    columns += [Column(name, "ms") for name in ("Median", "p5", "p95", "p99")]
    columns += [Column("Throughput", "images/s"), Column("Against baseline", "median"), Column("Samples")]
    blocks = []
    for block in view.latency:
        reference = block.timings.get(view.baseline.name)
        rows = []
        for label, timing in view.graphs_in(block):
            low, middle, high, highest = np.percentile(timing.seconds, [5, 50, 95, 99])
            rows.append(
                [
                    label,
                    *(f"{1e3 * value:.2f}" for value in (middle, low, high, highest)),
                    f"{timing.batch / middle:.0f}",
                    f"×{middle / reference.median:.2f}" if reference else DASH,
                    str(len(timing.seconds)),
                ]
            )
        blocks.append((str(block), rows))
    caption = (
        "Latency of one forward pass of the deployed graph, from raw samples. Blocks differ in runtime, precision, "
        "batch, threads or machine and are never merged. Configurations with one deployed graph share a row."
    )
    return table(columns, blocks, caption + view.note)


def _samples(view: StudyView, out: Path) -> Html:
    """Dots in order of measurement around each cell's row, with a bar at the median and a line from p5 to p95."""
    if not view.latency:
        return absent("No latency measured.")
    panels = [(block, view.graphs_in(block)) for block in view.latency]
    rows = max(len(graphs) for _, graphs in panels)
    same = len({tuple(label for label, _ in graphs) for _, graphs in panels}) == 1
    with styled():
        drawn = small_multiples(len(panels), 2, (4.6, 1.1 + 0.36 * rows), (0.6, 0.0), sharey=same)
        for axes, (block, graphs) in zip(drawn.panels, panels, strict=True):
            light_grid(axes, "x")
            reach = 1.3e3 * max(float(np.percentile(timing.seconds, 95)) for _, timing in graphs)
            for y, (_, timing) in enumerate(graphs):
                values = 1e3 * np.asarray(timing.seconds, dtype=float)
                shade = colour(y)
                spread = np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.zeros(1)
                axes.scatter(values, y + spread, s=7, color=shade, alpha=0.45, linewidth=0)
                low, middle, high = np.percentile(values, [5, 50, 95])
                axes.plot([low, high], [y, y], color="#222222", linewidth=1)
                if beyond := int((values > reach).sum()):
                    slower = f"{beyond} slower →"
                    axes.text(0.995 * reach, y, slower, ha="right", va="center", fontsize=9, backgroundcolor="white")
                axes.plot([middle, middle], [y - 0.3, y + 0.3], color="#222222", linewidth=2)
            axes.set_yticks(range(len(graphs)), [label for label, _ in graphs])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(graphs) - 0.4, -0.6)
            axes.set_xlim(0, reach)
            axes.set_xlabel("milliseconds per forward pass")
            axes.set_title(f"batch {block.first.batch} · {block.first.runtime_in_mode} · {block.first.precision}")
        devices = "; ".join(dict.fromkeys(f"{b.first.key.device}, {b.first.key.threads} threads" for b in view.latency))
        caption = (
            "Raw latency samples, one row per deployed graph, in order of measurement from top to bottom of each row; "
            "bar: median, line: 5th to 95th percentile; samples far beyond are counted at the edge. "
            f"Measured on {devices}.{view.note}"
        )
        return publish(drawn.figure, "latency", caption, out)
