"""mAP against latency with the Pareto front, at one core and at all cores; and the table behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.report.figures import canvas
from vireid.report.figures.labels import place_labels
from vireid.report.figures.tradeoff import along, staircase
from vireid.report.html import Column, Html, join, table, tag, unfilled
from vireid.report.page import Report
from vireid.report.records.candidates import Accuracy, Deployable, candidates, find_accuracy_key, front
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import AccuracyKey, TimingKey
from vireid.report.records.labels import as_sentence
from vireid.report.tables import csv_text

LEGEND_ROW = 0.2  # inches
LEGEND_CHARACTERS = 130  # that fit side by side
MARKS = {"fp32": "o", "bf16": "s", "fp16": "P", "tf32": "^", "int8": "D"}


def render(report: Report) -> Html:
    """One figure and one table per machine, mode and threads, under one accuracy protocol."""
    deployment = report.deployment
    key = find_accuracy_key(deployment)
    every = candidates(deployment, key)
    if key is None or not every:
        return unfilled(
            "No model of this study has both an accuracy and a latency",
            "vireid ablate ablations/STUDY.yaml",
            "vireid profile model=NAME profile=runtimes",
        )
    copy = report.copy("tables/candidates.csv", to_csv(every, key))
    pieces = []
    for number, timed in enumerate(extreme_keys(every), start=1):
        own = [candidate for candidate in every if candidate.timing.key == timed]
        pieces.append(tag("h3", str(timed)))
        if any(candidate.accuracy for candidate in own):
            pieces.append(_figure(deployment, own, key, report.out, f"front-{number}"))
        pieces.append(_table(own, key, copy))
    return join(pieces)


def extreme_keys(candidates: Sequence[Deployable]) -> list[TimingKey]:
    """One core and all of a machine's cores; everything on a machine that has neither."""
    keys = sorted({candidate.timing.key for candidate in candidates})
    ends = [key for key in keys if key.threads in (1, key.cores) or key.accelerator != "cpu"]
    machines = {key.machine for key in ends}
    return [key for key in keys if key in ends or key.machine not in machines]


def _figure(deployment: DeploymentView, own: Sequence[Deployable], key: AccuracyKey, out: Path, name: str) -> Html:
    scored = [(c, c.accuracy, _point(c, c.accuracy)) for c in own if c.accuracy is not None]
    best = front(own)
    first = [(c, accuracy, point) for c, accuracy, point in scored if c in best]
    first.sort(key=lambda entry: best.index(entry[0]))
    labels = list(dict.fromkeys(model.label for model in deployment.models))
    with canvas.styled():
        figure = canvas.new_figure(8.6, 5.0)
        axes = figure.add_subplot()
        canvas.light_grid(axes, "both")
        scale = canvas.milliseconds_axis(axes, [x for *_, (x, _) in scored])
        for candidate, accuracy, (x, y) in scored:
            shade = canvas.colour(labels.index(candidate.label))
            if candidate in best and accuracy.low is not None and accuracy.high is not None:
                axes.plot([x, x], [100 * accuracy.low, 100 * accuracy.high], color=shade, linewidth=0.8, alpha=0.5)
            mark = MARKS.get(candidate.precision, "X")
            axes.scatter(x, y, s=46, marker=mark, zorder=3, **_paint(labels.index(candidate.label)))
        axes.set_xlabel(f"p50 of one image, ms{scale}")
        axes.set_ylabel("mAP (%)")
        axes.margins(x=0.15, y=0.12)
        axes.set_xlim(*axes.get_xlim())
        line = staircase([point for *_, point in first])
        line.append((axes.get_xlim()[1], line[-1][1]))
        axes.plot(*zip(*line, strict=True), color=canvas.GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        systems = [label for label in labels if any(candidate.label == label for candidate, *_ in scored)]
        handles: list[Artist] = [axes.scatter([], [], marker="o", label=s, **_paint(labels.index(s))) for s in systems]
        precisions = sorted({candidate.precision for candidate, *_ in scored})
        marks = [(precision, MARKS.get(precision, "X")) for precision in precisions]
        handles += [Line2D([], [], marker=m, linestyle="", color=canvas.GREY, label=label) for label, m in marks]
        longest = max(len(name) for name in (*systems, *precisions))
        columns = min(4, max(1, LEGEND_CHARACTERS // (longest + 6)))  # a wider legend would be cut off at the sides
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        figure.set_figheight(4.6 + LEGEND_ROW * -(-len(handles) // columns))
        covered = [point for candidate, _, point in scored if candidate not in best]
        for _, accuracy, (x, _) in first:
            if accuracy.low is not None and accuracy.high is not None:
                covered += along([(x, 100 * accuracy.low), (x, 100 * accuracy.high)])
        names = [candidate.timing.short for candidate, *_ in first]
        place_labels(axes, [point for *_, point in first], names, covered + along(line))
        caption = (
            f"mAP against latency on {own[0].timing.key}: {key.title}, {PLAIN}. Colour and fill: system; shape: "
            "precision. Dashed: Pareto front, whose members are named by runtime; thin lines: their intervals over "
            f"query identities.{as_sentence(key.note)}"
        )
        return canvas.publish(figure, name, caption, out)


def _point(candidate: Deployable, accuracy: Accuracy) -> tuple[float, float]:
    """Milliseconds and percent."""
    return candidate.timing.ms(50), 100 * accuracy.mean_ap


def _paint(position: int) -> dict[str, Any]:
    """Colours of a system's marks: filled, and once the colours are used up hollow, pale, and with a dark edge."""
    own = canvas.colour(position)
    pale = tuple(0.4 * part + 0.6 for part in to_rgb(own))
    face, edge, width = (
        (own, "white", 0.7),
        ("white", own, 1.2),
        (pale, own, 1.2),
        (own, "black", 1.0),
    )[position // len(canvas.OKABE_ITO) % 4]
    return {"facecolor": face, "edgecolor": edge, "linewidth": width}


def _table(own: Sequence[Deployable], key: AccuracyKey, files: str) -> Html:
    best = front(own)
    columns = [Column("Model", text=True), Column("Runtime", text=True)]
    columns += [Column(name, "ms") for name in ("p50", "p90", "p99")]
    columns += [Column("File", "MB"), Column("RSS", "MB"), Column("mAP", "%"), Column("Interval"), Column("Seeds")]
    order = sorted(own, key=lambda c: (c.accuracy is None, c.timing.ms(50)))
    on = ("On the front", [_row(c) for c in order if c in best])
    off = ("Behind it", [_row(c) for c in order if c not in best and c.accuracy is not None])
    none = ("Not evaluated: no accuracy of their own", [_row(c) for c in order if c.accuracy is None])
    caption = (
        f"Candidates on {own[0].timing.key}, batch 1: {key.title}, {PLAIN}. float32 has the accuracy of the fit; any "
        "other precision that of an evaluated file of its kind, or none. mAP and its interval are means over seeds."
        f"{as_sentence(key.note)}"
    )
    blocks = [(heading, rows) for heading, rows in (on, off, none) if rows]
    return table(columns, blocks, caption, files)


def _row(candidate: Deployable) -> list[str]:
    accuracy, timing = candidate.accuracy, candidate.timing
    return [
        candidate.label,
        timing.runtime,
        *(f"{timing.ms(percentile):.2f}" for percentile in (50, 90, 99)),
        *(DASH if size is None else f"{size / 1e6:.1f}" for size in (candidate.size_bytes, timing.rss_bytes)),
        tag("span", "not evaluated", class_="unclaimed") if accuracy is None else f"{100 * accuracy.mean_ap:.1f}",
        DASH if accuracy is None else accuracy.interval or DASH,
        DASH if accuracy is None else ", ".join(map(str, accuracy.seeds)),
    ]


def to_csv(candidates: Sequence[Deployable], key: AccuracyKey) -> str:
    """Every candidate at full precision; each row names machine, protocol and data."""
    rows = []
    for c in candidates:
        accuracy, timing = c.accuracy, c.timing
        height, width = timing.first.resolution
        row: dict[str, object] = {"model": c.label, "graph": timing.graph, "runtime": timing.runtime}
        row |= {"precision": timing.precision, "height": height, "width": width, "device": timing.key.device}
        row |= {"way": timing.key.mode, "threads": timing.key.threads}
        row |= {f"p{percentile}_ms": timing.ms(percentile) for percentile in (50, 90, 99)}
        row |= {"size_bytes": c.size_bytes, "rss_bytes": timing.rss_bytes}
        row |= {"mAP": accuracy and accuracy.mean_ap, "low": accuracy and accuracy.low}
        row |= {"high": accuracy and accuracy.high, "seeds": accuracy and " ".join(map(str, accuracy.seeds))}
        row |= {"fits": " ".join(c.fits), "cosine": accuracy and accuracy.cosine}
        row |= {"overlap10": accuracy and accuracy.overlap10, "protocol": key.title, "data": key.note or "real"}
        rows.append(row)
    return csv_text(rows)
