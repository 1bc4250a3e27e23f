"""Latency: of the study's graphs, by machine, graph and runtime, and stage by stage of a query."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from vireid.core.messages import DASH
from vireid.core.records import LatencyRecord
from vireid.report.copies import Copies
from vireid.report.figures import canvas
from vireid.report.html import Column, Html, absent, bullets, join, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import TimingKey, as_sentence, grouped, runtime_label
from vireid.report.records.study import StudyView
from vireid.report.records.timings import Timing


def render_latency(report: Report) -> Html:
    """Figure and table, and what was not measured."""
    view = report.view
    remarks = [*(f"Not measured: {reason}" for reason in view.unmeasured), *view.latency_notes]
    below = [tag("div", bullets(remarks), class_="method")] if remarks else []
    figure = _samples_figure(view, report.copies)
    return join([figure, _samples_table(view) if view.latency else absent("No latency measured."), *below])


SHORTEST_TITLE = 24  # characters of a panel's title before it goes on, beside names of any length


def _samples_table(view: StudyView) -> Html:
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


def _samples_figure(view: StudyView, out: Copies) -> Html:
    """Dots in order of measurement around each cell's row, with a bar at the median and a line from p5 to p95."""
    if not view.latency:
        return absent("No latency measured.")
    panels = [(block, view.graphs_in(block)) for block in view.latency]
    widest = max(len(label) for _, graphs in panels for label, _ in graphs)
    line = max(SHORTEST_TITLE, canvas.TITLE_LINE - widest)  # a title begins right of the names
    titles = [
        fill(f"batch {first.batch} · {first.runtime_in_mode} · {first.precision}", line)
        for first in (block.first for block, _ in panels)
    ]
    heights = [
        0.8 + 0.12 * title.count("\n") + 0.27 * len(graphs) for title, (_, graphs) in zip(titles, panels, strict=True)
    ]
    same = len({tuple(label for label, _ in graphs) for _, graphs in panels}) == 1
    with canvas.styled():
        drawn = canvas.small_multiples(heights, 2, 3.15, (0.5, 0.0), sharey=same)
        for axes, title, (_, graphs) in zip(drawn.panels, titles, panels, strict=True):
            canvas.light_grid(axes, "x")
            reach = 1.3e3 * max(float(np.percentile(timing.seconds, 95)) for _, timing in graphs)
            for y, (_, timing) in enumerate(graphs):
                values = 1e3 * np.asarray(timing.seconds, dtype=float)
                shade = canvas.colour(y)
                spread = np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.zeros(1)
                axes.scatter(values, y + spread, s=4, color=shade, alpha=0.45, linewidth=0, rasterized=True)
                low, middle, high = np.percentile(values, [5, 50, 95])
                axes.plot([low, high], [y, y], color="#222222", linewidth=1)
                if beyond := int((values > reach).sum()):
                    look: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": canvas.SMALL}
                    axes.text(1.02 * reach, y, f"+{beyond} →", **look)  # outside: it would hide the line and samples
                axes.plot([middle, middle], [y - 0.3, y + 0.3], color="#222222", linewidth=2)
            axes.set_yticks(range(len(graphs)), [label for label, _ in graphs])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(graphs) - 0.4, -0.6)
            axes.set_xlim(0, reach)
            axes.set_xlabel("milliseconds per forward pass")
            axes.set_title(title)
        devices = "; ".join(dict.fromkeys(f"{b.first.key.device}, {b.first.key.threads_label}" for b in view.latency))
        caption = (
            "Raw latency samples, one row per deployed graph, in order of measurement from top to bottom of each row; "
            "bar: median, line: 5th to 95th percentile; +n → at the edge: so many samples are slower. "
            f"Measured on {devices}.{view.note}"
        )
        return canvas.publish(drawn.figure, "latency", caption, out, numbers=False)


GRAPH_LINE = 40  # characters of a graph's name before it goes on in the next line


def render_latency_by_machine(report: Report) -> Html:
    """A figure and a table for every machine."""
    deployment = report.deployment
    machines = grouped(deployment.shown, lambda timing: timing.key.machine)
    if not machines:
        return unfilled("No latency measured", "vireid profile model=idkl profile=runtimes")
    pieces = []
    for number, group in enumerate(machines.values(), start=1):
        pieces.append(tag("h3", group[0].key.device))
        if single := [timing for timing in group if timing.batch == 1]:
            pieces.append(_machine_figure(deployment, single, report.copies, f"latency-{number}"))
        pieces += [_machine_table(deployment, group), _remarks(deployment, group)]
    return join(pieces)


def _machine_figure(deployment: DeploymentView, group: Sequence[Timing], out: Copies, name: str) -> Html:
    groups = grouped(group, lambda timing: timing.key)
    runtimes = sorted({timing.runtime for timing in group})
    rows = {key: list(dict.fromkeys(map(deployment.graph_name, timings))) for key, timings in groups.items()}
    lanes = {key: sorted({timing.runtime for timing in timings}) for key, timings in groups.items()}
    heights = [0.14 * max(3, len(lanes[key])) * len(graphs) + 0.6 for key, graphs in rows.items()]
    scale = ""
    with canvas.styled():
        figure = canvas.new_figure(canvas.PAGE, 0.8 * sum(heights) + 0.65 + 0.18 * (len(runtimes) // 3))
        panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (key, timings) in zip(panels, groups.items(), strict=True):
            canvas.light_grid(axes, "x")
            graphs, own_lanes = rows[key], lanes[key]
            for timing in timings:
                lane = runtimes.index(timing.runtime)
                offset = own_lanes.index(timing.runtime) - (len(own_lanes) - 1) / 2
                y = graphs.index(deployment.graph_name(timing)) + offset * 0.8 / len(own_lanes)
                middle, high = timing.ms(50), timing.ms(90)
                axes.plot([middle, high], [y, y], color=canvas.colour(lane), linewidth=1.4)
                mark = "o" if lane < len(canvas.OKABE_ITO) else "D"
                axes.scatter(
                    middle, y, s=16, marker=mark, color=canvas.colour(lane), edgecolor="white", linewidth=0.5, zorder=3
                )
            scale = canvas.milliseconds_axis(axes, [t.ms(p) for t in group for p in (50, 90)])
            axes.set_yticks(range(len(graphs)), [fill(graph, GRAPH_LINE) for graph in graphs])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(graphs) - 0.45, -0.55)
            axes.set_title(key.heading)
        panels[-1].set_xlabel(f"milliseconds per image, batch 1{scale}")
        handles = [
            panels[0].plot([], [], "o" if n < len(canvas.OKABE_ITO) else "D", color=canvas.colour(n), label=runtime)[0]
            for n, runtime in enumerate(runtimes)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)  # names are long: three would be cut off
        caption = (
            f"Latency of one image on {group[0].key.device}: median (point) and 90th percentile (end of the line), "
            f"one row per deployed graph.{as_sentence(*deployment.notes)}"
        )
        return canvas.publish(figure, name, caption, out)


def _machine_table(deployment: DeploymentView, group: Sequence[Timing]) -> Html:
    columns = [Column("Runtime", text=True), Column("Batch")]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("Throughput", "images/s"), Column("Load", "s"), Column("File", "MB"), Column("RSS", "MB")]
    energy = any(timing.joules_per_image is not None for timing in group)
    columns += [Column("Energy", "J/image")] if energy else []
    columns.append(Column("Samples"))
    ordered = (timing for timings in grouped(group, lambda timing: timing.key).values() for timing in timings)
    groups = grouped(ordered, lambda timing: f"{deployment.graph_name(timing)} · {timing.key.heading}")
    blocks = [
        (heading, [_timing_row(timing, energy=energy) for timing in timings]) for heading, timings in groups.items()
    ]
    unread = "" if energy else " Energy cannot be read on this machine."
    caption = (
        f"Forward passes on {group[0].key.device}, from raw samples; throughput is batch ÷ p50. Load: from the file to "
        "the first answer. RSS: highest resident memory of the isolated process, interpreter and libraries included. "
        f"A dash: measured in the profiler's process, where these cannot be known.{unread}"
        f"{as_sentence(*deployment.notes)}"
    )
    return table(columns, blocks, caption)


def _timing_row(timing: Timing, *, energy: bool) -> list[str]:
    sizes = (timing.size_bytes, timing.rss_bytes)
    joules = timing.joules_per_image
    return [
        tag("span", timing.runtime, " ", tag("span", "noted", class_="badge")) if timing.notes else timing.runtime,
        str(timing.batch),
        *(f"{timing.ms(percentile):.2f}" for percentile in (50, 90, 99)),
        f"{1e3 * timing.batch / timing.ms(50):.1f}",
        DASH if timing.load_seconds is None else f"{timing.load_seconds:.2f}",
        *(DASH if size is None else f"{size / 1e6:.1f}" for size in sizes),
        *([DASH if joules is None else f"{joules:.3f}"] if energy else []),
        str(len(timing.seconds)),
    ]


def _remarks(deployment: DeploymentView, group: Sequence[Timing]) -> Html:
    """What the profiler remarked on its own measurements, folded away."""
    lines = [
        f"{deployment.graph_name(t)}, {t.runtime}, batch {t.batch}, {t.key.heading}: {'; '.join(t.notes)}"
        for t in group
        if t.notes
    ]
    if not lines:
        return Html()
    title = f"Remarks of the profiler on {len(lines)} of {len(group)} measurements"
    return tag("details", tag("summary", title), bullets(lines), class_="method")


BAR_LINE = 46  # characters of a bar's name before it goes on in the next line
STAGES = ("decode", "preprocess", "backbone", "neck", "network", "search")


def render_query_pipeline(report: Report) -> Html:
    """One figure per machine, mode and threads, and a table."""
    deployment = report.deployment
    queries = [r for r in deployment.latencies if r.status == "ok" and r.stages and r.artefact in deployment.labels]
    groups = grouped(queries, lambda record: TimingKey.of(record, deployment.machines))
    if not groups:
        return unfilled(
            "No query from a JPEG file to a ranked list measured",
            "vireid profile model=idkl --stages profile.stages.gallery=10000",
        )
    groups = dict(sorted(groups.items()))
    figures = [
        _stages_figure(deployment, key, group, report.copies, f"ways-{n}")
        for n, (key, group) in enumerate(groups.items(), start=1)
    ]
    return join([*figures, _stages_table(deployment, groups)])


def _stages_figure(
    deployment: DeploymentView, key: TimingKey, group: list[LatencyRecord], out: Copies, name: str
) -> Html:
    with canvas.styled():
        names = [fill(_bar_name(deployment, record), BAR_LINE) for record in group]
        figure = canvas.new_figure(
            canvas.PAGE, 1.0 + 0.17 * sum(1 + name.count("\n") for name in names) + 0.11 * len(group)
        )
        axes = figure.add_subplot()
        canvas.light_grid(axes, "x")
        for number, stage in enumerate(STAGES):
            lengths = [_stage_ms(record, stage) or 0.0 for record in group]
            if not any(lengths):
                continue
            lefts = [sum(_stage_ms(record, before) or 0.0 for before in STAGES[:number]) for record in group]
            axes.barh(range(len(group)), lengths, 0.66, left=lefts, color=canvas.colour(number), label=stage)
        axes.set_yticks(range(len(group)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(group) - 0.5, -0.5)
        axes.set_xlabel("median milliseconds of each stage")
        figure.legend(loc="outside lower center", ncols=6)
        caption = f"From a JPEG file to a ranked list on {key}; bars end at the sum of the stages' medians."
        return canvas.publish(figure, name, caption + as_sentence(*deployment.notes), out)


def _stages_table(deployment: DeploymentView, groups: dict[TimingKey, list[LatencyRecord]]) -> Html:
    shown = [stage for stage in STAGES if any(stage in r.stages for group in groups.values() for r in group)]
    columns = [Column("Graph and runtime", text=True), *(Column(stage, "ms") for stage in shown)]
    columns += [Column("Whole query", "ms"), Column("Gallery", "rows"), Column("Gallery", "MB")]
    columns.append(Column("JPEG", text=True))
    blocks = [(str(key), [_stages_row(deployment, record, shown) for record in group]) for key, group in groups.items()]
    caption = (
        "Medians of each stage of one query and of the whole query. Eager mode alone separates backbone and neck; the "
        "gallery's features are prepared before, float32, and stay in memory."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _stages_row(deployment: DeploymentView, record: LatencyRecord, shown: list[str]) -> list[str]:
    settings: dict[str, Any] = record.stage_settings
    image = settings.get("image", {})
    stages = [_stage_ms(record, stage) for stage in shown]
    size = settings.get("gallery_bytes")
    return [
        _bar_name(deployment, record),
        *(DASH if value is None else f"{value:.2f}" for value in stages),
        f"{1e3 * float(np.median(record.seconds)):.2f}",
        str(settings.get("gallery", DASH)),
        DASH if size is None else f"{size / 1e6:.1f}",
        f"{image['height']}×{image['width']}" if {"height", "width"} <= set(image) else DASH,
    ]


def _bar_name(deployment: DeploymentView, record: LatencyRecord) -> str:
    height, width = record.resolution
    label = deployment.labels[record.artefact]
    return f"{label}, {height}×{width}, {runtime_label(record.runtime)} {record.precision}"


def _stage_ms(record: LatencyRecord, stage: str) -> float | None:
    return 1e3 * float(np.median(record.stages[stage])) if record.stages.get(stage) else None
