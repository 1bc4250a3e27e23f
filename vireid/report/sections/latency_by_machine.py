"""Latency by machine, graph and runtime: one figure and one table per machine, unlike machines never together."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from vireid.core.messages import DASH
from vireid.report.figures.canvas import OKABE_ITO, colour, light_grid, milliseconds_axis, new_figure, publish, styled
from vireid.report.html import Column, Html, bullets, join, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.labels import as_sentence
from vireid.report.records.timings import Timing, by_key

LINE = 40  # characters of a graph's name before it goes on in the next line


def render(report: Report) -> Html:
    """A figure and a table for every machine."""
    deployment = report.deployment
    machines: dict[str, list[Timing]] = {}
    for timing in deployment.shown:
        machines.setdefault(timing.key.machine, []).append(timing)
    if not machines:
        return unfilled("No latency measured", "vireid profile model=idkl profile=runtimes")
    pieces = []
    for number, own in enumerate(machines.values(), start=1):
        pieces.append(tag("h3", own[0].key.device))
        if single := [timing for timing in own if timing.batch == 1]:
            pieces.append(_figure(deployment, single, report.out, f"latency-{number}"))
        pieces += [_table(deployment, own), _remarks(deployment, own)]
    return join(pieces)


def _figure(deployment: DeploymentView, own: Sequence[Timing], out: Path, name: str) -> Html:
    groups = by_key(own)
    runtimes = sorted({timing.runtime for timing in own})
    rows = {key: list(dict.fromkeys(map(deployment.graph_name, timings))) for key, timings in groups.items()}
    lanes = {key: sorted({timing.runtime for timing in timings}) for key, timings in groups.items()}
    heights = [0.14 * max(3, len(lanes[key])) * len(graphs) + 0.6 for key, graphs in rows.items()]
    scale = ""
    with styled():
        figure = new_figure(9.0, sum(heights) + 0.8 + 0.22 * (len(runtimes) // 3))
        panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (key, timings) in zip(panels, groups.items(), strict=True):
            light_grid(axes, "x")
            graphs, own_lanes = rows[key], lanes[key]
            for timing in timings:
                lane = runtimes.index(timing.runtime)
                offset = own_lanes.index(timing.runtime) - (len(own_lanes) - 1) / 2
                y = graphs.index(deployment.graph_name(timing)) + offset * 0.8 / len(own_lanes)
                middle, high = timing.ms(50), timing.ms(90)
                axes.plot([middle, high], [y, y], color=colour(lane), linewidth=1.4)
                mark = "o" if lane < len(OKABE_ITO) else "D"
                axes.scatter(
                    middle, y, s=26, marker=mark, color=colour(lane), edgecolor="white", linewidth=0.5, zorder=3
                )
            scale = milliseconds_axis(axes, [t.ms(p) for t in own for p in (50, 90)])
            axes.set_yticks(range(len(graphs)), [fill(graph, LINE) for graph in graphs])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(graphs) - 0.45, -0.55)
            axes.set_title(key.heading)
        panels[-1].set_xlabel(f"milliseconds per image, batch 1{scale}")
        handles = [
            panels[0].plot([], [], "o" if n < len(OKABE_ITO) else "D", color=colour(n), label=runtime)[0]
            for n, runtime in enumerate(runtimes)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)  # names are long: three would be cut off
        caption = (
            f"Latency of one image on {own[0].key.device}: median (point) and 90th percentile (end of the line), "
            f"one row per deployed graph.{as_sentence(*deployment.notes)}"
        )
        return publish(figure, name, caption, out)


def _table(deployment: DeploymentView, own: Sequence[Timing]) -> Html:
    columns = [Column("Runtime", text=True), Column("Batch")]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("Throughput", "images/s"), Column("Load", "s"), Column("File", "MB"), Column("RSS", "MB")]
    energy = any(timing.joules_per_image is not None for timing in own)
    columns += [Column("Energy", "J/image")] if energy else []
    columns.append(Column("Samples"))
    groups: dict[str, list[Timing]] = {}
    for key, timings in by_key(own).items():
        for timing in timings:
            groups.setdefault(f"{deployment.graph_name(timing)} · {key.heading}", []).append(timing)
    blocks = [(heading, [_row(timing, energy=energy) for timing in timings]) for heading, timings in groups.items()]
    unread = "" if energy else " Energy cannot be read on this machine."
    caption = (
        f"Forward passes on {own[0].key.device}, from raw samples; throughput is batch ÷ p50. Load: from the file to "
        "the first answer. RSS: highest resident memory of the isolated process, interpreter and libraries included. "
        f"A dash: measured in the profiler's process, where these cannot be known.{unread}"
        f"{as_sentence(*deployment.notes)}"
    )
    return table(columns, blocks, caption)


def _row(timing: Timing, *, energy: bool) -> list[str]:
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


def _remarks(deployment: DeploymentView, own: Sequence[Timing]) -> Html:
    """What the profiler remarked on its own measurements, folded away."""
    lines = [
        f"{deployment.graph_name(t)}, {t.runtime}, batch {t.batch}, {t.key.heading}: {'; '.join(t.notes)}"
        for t in own
        if t.notes
    ]
    if not lines:
        return Html()
    title = f"Remarks of the profiler on {len(lines)} of {len(own)} measurements"
    return tag("details", tag("summary", title), bullets(lines), class_="method")
