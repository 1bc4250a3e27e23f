"""Latency of the study's graphs: raw samples and percentiles, block by block of what may be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vireid.core.messages import DASH
from vireid.report.figures.latency import latency_samples
from vireid.report.html import Column, Html, absent, bullets, join, table, tag
from vireid.report.records.study import StudyView

if TYPE_CHECKING:
    from vireid.report.page import Report


def render(report: Report) -> Html:
    """Figure and table, and what was not measured."""
    view = report.view
    remarks = [*(f"Not measured: {reason}" for reason in view.unmeasured), *view.latency_notes]
    below = [tag("div", bullets(remarks), class_="method")] if remarks else []
    figure = latency_samples(view, report.out)
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
