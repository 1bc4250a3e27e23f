"""Where the time of one query goes: from a JPEG file to a ranked list, stage by stage."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from vireid.core.records import LatencyRecord
from vireid.report.figures.canvas import colour, light_grid, new_figure, publish, styled
from vireid.report.hardware.deployment import Deployment
from vireid.report.hardware.latency import nothing
from vireid.report.hardware.timings import Place, place_of
from vireid.report.html import Column, Content, Fragment, Rows, join, table
from vireid.report.load import as_sentence
from vireid.report.runtimes import runtime_label

LINE = 46  # characters of a bar's name before it goes on in the next line
STAGES = ("decode", "preprocess", "backbone", "neck", "network", "search")


def ways(deployment: Deployment) -> dict[Place, list[LatencyRecord]]:
    """Finished ways to a ranked list of the shown graphs, by place."""
    found: dict[Place, list[LatencyRecord]] = {}
    for record in deployment.latencies:
        if record.status == "ok" and record.stages and record.artefact in deployment.labels:
            found.setdefault(place_of(record, deployment.machines), []).append(record)
    return dict(sorted(found.items()))


def ways_section(deployment: Deployment, out: Path) -> Fragment:
    """One figure per place, and a table."""
    found = ways(deployment)
    if not found:
        return nothing(
            "No way from a JPEG file to a ranked list measured",
            "vireid profile model=idkl --stages profile.stages.gallery=10000",
        )
    pieces: list[Content] = [
        _figure(deployment, place, own, out, f"ways-{n}") for n, (place, own) in enumerate(found.items(), start=1)
    ]
    return join([*pieces, _table(deployment, found)])


def _figure(deployment: Deployment, place: Place, own: list[LatencyRecord], out: Path, name: str) -> Fragment:
    with styled():
        names = [fill(_name(deployment, record), LINE) for record in own]
        figure = new_figure(8.8, 1.2 + 0.22 * sum(1 + name.count("\n") for name in names) + 0.14 * len(own))
        axes = figure.add_subplot()
        light_grid(axes, "x")
        for number, stage in enumerate(STAGES):
            lengths = [_ms(record, stage) or 0.0 for record in own]
            if not any(lengths):
                continue
            lefts = [sum(_ms(record, before) or 0.0 for before in STAGES[:number]) for record in own]
            axes.barh(range(len(own)), lengths, 0.66, left=lefts, color=colour(number), label=stage)
        axes.set_yticks(range(len(own)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(own) - 0.5, -0.5)
        axes.set_xlabel("median milliseconds of each stage")
        figure.legend(loc="outside lower center", ncols=6)
        caption = f"From a JPEG file to a ranked list on {place}; bars end at the sum of the stages' medians."
        return publish(figure, name, caption + _notes(deployment), out)


def _table(deployment: Deployment, found: dict[Place, list[LatencyRecord]]) -> Fragment:
    shown = [stage for stage in STAGES if any(stage in r.stages for own in found.values() for r in own)]
    columns = [Column("Graph and runtime", text=True), *(Column(stage, "ms") for stage in shown)]
    columns += [
        Column("Whole way", "ms"),
        Column("Gallery", "rows"),
        Column("Gallery", "MB"),
        Column("JPEG", text=True),
    ]
    blocks = [Rows(str(place), [_row(deployment, record, shown) for record in own]) for place, own in found.items()]
    caption = (
        "Medians of each stage of one query and of the whole way. Eager mode alone tells backbone and neck apart; the "
        "gallery's features are prepared before, float32, and stay in memory."
    )
    return table(columns, blocks, caption + _notes(deployment))


def _row(deployment: Deployment, record: LatencyRecord, shown: list[str]) -> list[Content]:
    settings: dict[str, Any] = record.stage_settings
    image = settings.get("image", {})
    stages = [_ms(record, stage) for stage in shown]
    size = settings.get("gallery_bytes")
    return [
        _name(deployment, record),
        *("–" if value is None else f"{value:.2f}" for value in stages),
        f"{1e3 * float(np.median(record.seconds)):.2f}",
        str(settings.get("gallery", "–")),
        "–" if size is None else f"{size / 1e6:.1f}",
        f"{image['height']}×{image['width']}" if {"height", "width"} <= set(image) else "–",
    ]


def _name(deployment: Deployment, record: LatencyRecord) -> str:
    height, width = record.resolution
    label = deployment.labels[record.artefact]
    return f"{label}, {height}×{width}, {runtime_label(record.runtime)} {record.precision}"


def _ms(record: LatencyRecord, stage: str) -> float | None:
    return 1e3 * float(np.median(record.stages[stage])) if record.stages.get(stage) else None


def _notes(deployment: Deployment) -> str:
    return "".join(as_sentence(note) for note in deployment.notes)
