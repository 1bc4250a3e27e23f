"""Latency by machine, graph and runtime: one figure and one table per machine, unlike machines never together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.axis import Axis

from vireid.report.figures.canvas import OKABE_ITO, colour, light_grid, new_figure, publish, styled
from vireid.report.hardware.deployment import Deployment
from vireid.report.hardware.timings import Timing, by_place
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, paragraph, table, tag
from vireid.report.load import as_sentence

_DASH = "–"
LINE = 40  # characters of a graph's name before it goes on in the next line
NARROW = 4  # times: latencies that lie closer together are drawn on a linear axis


def machines(deployment: Deployment) -> dict[str, list[Timing]]:
    """Timings that a report shows, by machine (digest)."""
    found: dict[str, list[Timing]] = {}
    for timing in deployment.shown:
        found.setdefault(timing.place.machine, []).append(timing)
    return found


def graph_name(deployment: Deployment, timing: Timing) -> str:
    """A graph as tables name it: its models, and the resolution."""
    height, width = timing.first.resolution
    return f"{deployment.labels[timing.graph]}, {height}×{width}"


def machines_table(deployment: Deployment) -> Fragment:
    """What was measured on which machines."""
    columns = [Column("Machine", text=True), Column("Way of measuring", text=True), Column("Threads")]
    columns += [Column(name) for name in ("Graphs", "Runtimes", "Measurements")]
    rows: list[list[Content]] = []
    for place, own in by_place(deployment.shown).items():
        counts = (len({t.graph for t in own}), len({t.runtime for t in own}), len(own))
        rows.append([place.device, place.way, str(place.threads), *map(str, counts)])
    if not rows:
        return nothing("No forward pass measured on any machine", "vireid profile model=idkl profile=runtimes")
    caption = (
        "What was measured where. Machines that differ in processor, stepping, instruction sets, cores or accelerators "
        "are never merged, nor are limits, isolated processes and thread counts."
    )
    return table(columns, [Rows("", rows)], caption)


def nothing(what: str, *commands: str) -> Fragment:
    """An absent section: what is missing, and the commands that fill it."""
    pieces: list[Content] = [f"{what}; "]
    for number, command in enumerate(commands):
        pieces += [", then " if number else "", tag("code", command)]
    return paragraph(*pieces, " fills this section.", class_="absent")


def latency_section(deployment: Deployment, out: Path) -> Fragment:
    """A figure and a table for every machine."""
    found = machines(deployment)
    if not found:
        return nothing("No latency measured", "vireid profile model=idkl profile=runtimes")
    pieces: list[Content] = []
    for number, own in enumerate(found.values(), start=1):
        pieces.append(tag("h3", own[0].place.device))
        if single := [timing for timing in own if timing.first.batch == 1]:
            pieces.append(_figure(deployment, single, out, f"latency-{number}"))
        pieces += [_table(deployment, own), _remarks(deployment, own)]
    return join(pieces)


def _figure(deployment: Deployment, own: Sequence[Timing], out: Path, name: str) -> Fragment:
    places = by_place(own)
    runtimes = sorted({timing.runtime for timing in own})
    rows = {place: list(dict.fromkeys(graph_name(deployment, t) for t in found)) for place, found in places.items()}
    lanes = {place: sorted({timing.runtime for timing in found}) for place, found in places.items()}
    heights = [0.14 * max(3, len(lanes[place])) * len(graphs) + 0.6 for place, graphs in rows.items()]
    scale = ""
    with styled():
        figure = new_figure(9.0, sum(heights) + 0.8 + 0.22 * (len(runtimes) // 3))
        panels = figure.subplots(len(places), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (place, found) in zip(panels, places.items(), strict=True):
            light_grid(axes, "x")
            graphs, own_lanes = rows[place], lanes[place]
            for timing in found:
                lane, offset = (
                    runtimes.index(timing.runtime),
                    own_lanes.index(timing.runtime) - (len(own_lanes) - 1) / 2,
                )
                y = graphs.index(graph_name(deployment, timing)) + offset * 0.8 / len(own_lanes)
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
            axes.set_title(place.heading)
        panels[-1].set_xlabel(f"milliseconds per image, batch 1{scale}")
        handles = [
            panels[0].plot([], [], "o" if n < len(OKABE_ITO) else "D", color=colour(n), label=runtime)[0]
            for n, runtime in enumerate(runtimes)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)  # names are long: three would be cut off
        caption = (
            f"Latency of one image on {own[0].place.device}: median (point) and 90th percentile (end of the line), "
            f"one row per deployed graph.{_notes(deployment)}"
        )
        return publish(figure, name, caption, out)


def milliseconds_axis(axes: Axes, values: Sequence[float]) -> str:
    """Make the horizontal axis logarithmic where the values ask for it; returns what its label says of that."""
    if max(values) < NARROW * min(values):
        return ""
    axes.set_xscale("log")
    plain_logarithm(axes.xaxis)
    return " (logarithmic)"


def plain_logarithm(axis: Axis) -> None:
    """Plain numbers at 1, 2, 3 and 5 of every decade of a logarithmic axis."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "235" else "")
    axis.set_tick_params(which="minor", labelsize=9)


def _table(deployment: Deployment, own: Sequence[Timing]) -> Fragment:
    columns = [Column("Runtime", text=True), Column("Batch")]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("Throughput", "images/s"), Column("Load", "s"), Column("File", "MB"), Column("RSS", "MB")]
    energy = any(timing.joules_per_image is not None for timing in own)
    columns += [Column("Energy", "J/image")] if energy else []
    columns.append(Column("Samples"))
    groups: dict[str, list[Timing]] = {}
    for place, found in by_place(own).items():
        for timing in found:
            groups.setdefault(f"{graph_name(deployment, timing)} · {place.heading}", []).append(timing)
    blocks = [Rows(heading, [_row(timing, energy=energy) for timing in found]) for heading, found in groups.items()]
    unread = "" if energy else " Energy cannot be read on this machine."
    caption = (
        f"Forward passes on {own[0].place.device}, from raw samples; throughput is batch ÷ p50. Load: from the file to "
        "the first answer. RSS: highest resident memory of the isolated process, interpreter and libraries included. "
        f"A dash: measured in the profiler's process, where these cannot be told.{unread}{_notes(deployment)}"
    )
    return table(columns, blocks, caption)


def _remarks(deployment: Deployment, own: Sequence[Timing]) -> Fragment:
    """What the profiler says of its own measurements, folded away."""
    lines = [
        f"{graph_name(deployment, t)}, {t.runtime}, batch {t.first.batch}, {t.place.heading}: {'; '.join(t.notes)}"
        for t in own
        if t.notes
    ]
    if not lines:
        return Fragment("")
    title = f"Remarks of the profiler on {len(lines)} of {len(own)} measurements"
    return tag("details", tag("summary", title), bullets(lines), class_="method")


def _row(timing: Timing, *, energy: bool) -> list[Content]:
    sizes = (timing.size_bytes, timing.rss_bytes)
    joules = timing.joules_per_image
    return [
        tag("span", timing.runtime, " ", tag("span", "noted", class_="badge")) if timing.notes else timing.runtime,
        str(timing.first.batch),
        *(f"{timing.ms(percentile):.2f}" for percentile in (50, 90, 99)),
        f"{1e3 * timing.first.batch / timing.ms(50):.1f}",
        _DASH if timing.load_seconds is None else f"{timing.load_seconds:.2f}",
        *(_DASH if size is None else f"{size / 1e6:.1f}" for size in sizes),
        *([_DASH if joules is None else f"{joules:.3f}"] if energy else []),
        str(len(timing.seconds)),
    ]


def _notes(deployment: Deployment) -> str:
    return "".join(as_sentence(note) for note in deployment.notes)


def skipped(deployment: Deployment) -> Sequence[str]:
    """Measurements of the shown graphs that failed or were skipped, with the reason."""
    found = [
        f"{record.runtime.get('name')} {record.precision}, {record.status}: {record.reason or 'no reason recorded'}"
        for record in deployment.latencies
        if record.status != "ok" and record.artefact in deployment.labels
    ]
    return list(dict.fromkeys(found))
