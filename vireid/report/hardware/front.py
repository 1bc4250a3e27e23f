"""mAP against latency with the Pareto front, at one core and at all cores; and the table behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from vireid.report.figures.canvas import GREY, OKABE_ITO, colour, light_grid, new_figure, publish, styled
from vireid.report.figures.labels import place_labels
from vireid.report.figures.tradeoff import along, staircase
from vireid.report.hardware.candidates import Candidate, Yardstick, candidates, find_yardstick, front
from vireid.report.hardware.deployment import Deployment
from vireid.report.hardware.latency import milliseconds_axis, nothing
from vireid.report.hardware.timings import Place
from vireid.report.html import Column, Content, Fragment, Rows, join, link, table, tag
from vireid.report.load import as_sentence
from vireid.report.protocols import PLAIN
from vireid.store import write_atomically

LEGEND_ROW = 0.2  # inches
LEGEND_CHARACTERS = 130  # that fit side by side
MARKS = {"fp32": "o", "bf16": "s", "fp16": "P", "tf32": "^", "int8": "D"}
_DASH = "–"


def front_section(deployment: Deployment, out: Path) -> Fragment:
    """One figure and one table per place, under one accuracy protocol."""
    yardstick = find_yardstick(deployment)
    found = candidates(deployment, yardstick)
    if yardstick is None or not found:
        return nothing(
            "No model of this study has both an accuracy and a latency",
            "vireid ablate ablations/STUDY.yaml",
            "vireid profile model=NAME profile=runtimes",
        )
    write_atomically(out / "tables/candidates.csv", to_csv(found, yardstick))
    pieces: list[Content] = []
    for number, place in enumerate(extreme_places(found), start=1):
        own = [candidate for candidate in found if candidate.place == place]
        pieces.append(tag("h3", str(place)))
        if any(candidate.accuracy for candidate in own):
            pieces.append(_figure(deployment, own, yardstick, out, f"front-{number}"))
        pieces.append(_table(own, yardstick))
    return join(pieces)


def extreme_places(found: Sequence[Candidate]) -> list[Place]:
    """Places at one core and at all of a machine's cores; every place of a machine that has neither."""
    places = sorted({candidate.place for candidate in found})
    ends = [place for place in places if place.threads in (1, place.cores) or place.accelerator != "cpu"]
    machines = {place.machine for place in ends}
    return [place for place in places if place in ends or place.machine not in machines]


def _figure(deployment: Deployment, own: Sequence[Candidate], yardstick: Yardstick, out: Path, name: str) -> Fragment:
    scored = [(c, c.accuracy) for c in own if c.accuracy is not None]
    points = [(c.timing.ms(50), 100 * accuracy.mean_ap) for c, accuracy in scored]
    best = front(own)
    labels = list(dict.fromkeys(model.label for model in deployment.models))
    with styled():
        figure = new_figure(8.6, 5.0)
        axes = figure.add_subplot()
        light_grid(axes, "both")
        scale = milliseconds_axis(axes, [x for x, _ in points])
        for (candidate, accuracy), (x, y) in zip(scored, points, strict=True):
            shade = colour(labels.index(candidate.label))
            if candidate in best and accuracy.low is not None and accuracy.high is not None:
                axes.plot([x, x], [100 * accuracy.low, 100 * accuracy.high], color=shade, linewidth=0.8, alpha=0.5)
            mark = MARKS.get(candidate.precision, "X")
            axes.scatter(x, y, s=46, marker=mark, zorder=3, **_paint(labels.index(candidate.label)))
        axes.set_xlabel(f"p50 of one image, ms{scale}")
        axes.set_ylabel("mAP (%)")
        axes.margins(x=0.15, y=0.12)
        axes.set_xlim(*axes.get_xlim())
        line = staircase([(c.timing.ms(50), 100 * c.accuracy.mean_ap) for c in best if c.accuracy is not None])
        line.append((axes.get_xlim()[1], line[-1][1]))
        axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        systems = [label for label in labels if any(candidate.label == label for candidate, _ in scored)]
        handles: list[Artist] = [axes.scatter([], [], marker="o", label=s, **_paint(labels.index(s))) for s in systems]
        precisions = sorted({candidate.precision for candidate, _ in scored})
        handles += [Line2D([], [], marker=MARKS.get(p, "X"), linestyle="", color=GREY, label=p) for p in precisions]
        longest = max(len(name) for name in (*systems, *precisions))
        columns = min(4, max(1, LEGEND_CHARACTERS // (longest + 6)))  # a wider legend would be cut off at the sides
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        figure.set_figheight(4.6 + LEGEND_ROW * -(-len(handles) // columns))
        covered = [point for (candidate, _), point in zip(scored, points, strict=True) if candidate not in best]
        for c in best:
            if c.accuracy is not None and c.accuracy.low is not None and c.accuracy.high is not None:
                covered += along([(c.timing.ms(50), 100 * c.accuracy.low), (c.timing.ms(50), 100 * c.accuracy.high)])
        named = [(c.timing.ms(50), 100 * c.accuracy.mean_ap) for c in best if c.accuracy is not None]
        place_labels(axes, named, [candidate.timing.short for candidate in best], covered + along(line))
        caption = (
            f"mAP against latency on {own[0].place}: {yardstick.title}, {PLAIN}. Colour and fill: system; shape: "
            "precision. Dashed: Pareto front, whose members are named by runtime; thin lines: their intervals over "
            f"query identities.{as_sentence(yardstick.note)}"
        )
        return publish(figure, name, caption, out)


def _paint(position: int) -> dict[str, Any]:
    """Colours of a system's marks: filled, and once the colours are used up hollow, pale, and with a dark edge."""
    own = colour(position)
    pale = tuple(0.4 * part + 0.6 for part in to_rgb(own))
    face, edge, width = (
        (own, "white", 0.7),
        ("white", own, 1.2),
        (pale, own, 1.2),
        (own, "black", 1.0),
    )[position // len(OKABE_ITO) % 4]
    return {"facecolor": face, "edgecolor": edge, "linewidth": width}


def _table(own: Sequence[Candidate], yardstick: Yardstick) -> Fragment:
    best = front(own)
    columns = [Column("Model", text=True), Column("Runtime", text=True)]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("File", "MB"), Column("RSS", "MB"), Column("mAP", "%"), Column("Interval"), Column("Seeds")]
    order = sorted(own, key=lambda c: (c.accuracy is None, c.timing.ms(50)))
    on = Rows("On the front", [_row(c) for c in order if c in best])
    off = Rows("Behind it", [_row(c) for c in order if c not in best and c.accuracy is not None])
    none = Rows("Not evaluated: no accuracy of their own", [_row(c) for c in order if c.accuracy is None])
    caption = (
        f"Candidates on {own[0].place}, batch 1: {yardstick.title}, {PLAIN}. float32 has the accuracy of the fit; any "
        "other precision that of an evaluated file of its kind, or none. mAP and its interval are means over seeds."
        f"{as_sentence(yardstick.note)}"
    )
    blocks = [block for block in (on, off, none) if block.rows]
    return table(columns, blocks, caption, link("tables/candidates.csv", "CSV"))


def _row(candidate: Candidate) -> list[Content]:
    accuracy, timing = candidate.accuracy, candidate.timing
    return [
        candidate.label,
        timing.runtime,
        *(f"{timing.ms(percentile):.2f}" for percentile in (50, 90, 99)),
        *(_DASH if size is None else f"{size / 1e6:.1f}" for size in (candidate.size_bytes, timing.rss_bytes)),
        tag("span", "not evaluated", class_="unclaimed") if accuracy is None else f"{100 * accuracy.mean_ap:.1f}",
        _DASH if accuracy is None else accuracy.interval or _DASH,
        _DASH if accuracy is None else ", ".join(map(str, accuracy.seeds)),
    ]


def to_csv(found: Sequence[Candidate], yardstick: Yardstick) -> str:
    """Every candidate at full precision; each row names place, protocol and data."""
    names = ["model", "graph", "runtime", "precision", "height", "width", "device", "way", "threads"]
    names += ["p50_ms", "p90_ms", "p99_ms", "size_bytes", "rss_bytes", "mAP", "low", "high", "seeds", "fits"]
    names += ["cosine", "overlap10", "protocol", "data"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for c in found:
        a, timing, place = c.accuracy, c.timing, c.place
        score: list[object] = [None] * 4 if a is None else [a.mean_ap, a.low, a.high, " ".join(map(str, a.seeds))]
        entries = [
            c.label, timing.graph, timing.runtime, c.precision, *timing.first.resolution, place.device, place.way,
            place.threads, *(timing.ms(p) for p in (50, 90, 99)), c.size_bytes, timing.rss_bytes, *score,
            " ".join(c.fits), a and a.cosine, a and a.overlap10, yardstick.title, yardstick.note or "real",
        ]  # fmt: skip
        writer.writerow(["" if entry is None else entry for entry in entries])
    return buffer.getvalue()
