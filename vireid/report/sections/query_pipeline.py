"""Where the time of one query goes: from a JPEG file to a ranked list, stage by stage."""

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from vireid.core.messages import DASH
from vireid.core.records import LatencyRecord
from vireid.report.figures.canvas import colour, light_grid, new_figure, publish, styled
from vireid.report.html import Column, Html, join, table, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import TimingKey
from vireid.report.records.labels import as_sentence, runtime_label

LINE = 46  # characters of a bar's name before it goes on in the next line
STAGES = ("decode", "preprocess", "backbone", "neck", "network", "search")


def render(report: Report) -> Html:
    """One figure per machine, mode and threads, and a table."""
    deployment = report.deployment
    groups: dict[TimingKey, list[LatencyRecord]] = {}
    for record in deployment.latencies:
        if record.status == "ok" and record.stages and record.artefact in deployment.labels:
            groups.setdefault(TimingKey.of(record, deployment.machines), []).append(record)
    if not groups:
        return unfilled(
            "No query from a JPEG file to a ranked list measured",
            "vireid profile model=idkl --stages profile.stages.gallery=10000",
        )
    groups = dict(sorted(groups.items()))
    figures = [
        _figure(deployment, key, own, report.out, f"ways-{n}") for n, (key, own) in enumerate(groups.items(), start=1)
    ]
    return join([*figures, _table(deployment, groups)])


def _figure(deployment: DeploymentView, key: TimingKey, own: list[LatencyRecord], out: Path, name: str) -> Html:
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
        caption = f"From a JPEG file to a ranked list on {key}; bars end at the sum of the stages' medians."
        return publish(figure, name, caption + as_sentence(*deployment.notes), out)


def _table(deployment: DeploymentView, groups: dict[TimingKey, list[LatencyRecord]]) -> Html:
    shown = [stage for stage in STAGES if any(stage in r.stages for own in groups.values() for r in own)]
    columns = [Column("Graph and runtime", text=True), *(Column(stage, "ms") for stage in shown)]
    columns += [Column("Whole query", "ms"), Column("Gallery", "rows"), Column("Gallery", "MB")]
    columns.append(Column("JPEG", text=True))
    blocks = [(str(key), [_row(deployment, record, shown) for record in own]) for key, own in groups.items()]
    caption = (
        "Medians of each stage of one query and of the whole query. Eager mode alone separates backbone and neck; the "
        "gallery's features are prepared before, float32, and stay in memory."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _row(deployment: DeploymentView, record: LatencyRecord, shown: list[str]) -> list[str]:
    settings: dict[str, Any] = record.stage_settings
    image = settings.get("image", {})
    stages = [_ms(record, stage) for stage in shown]
    size = settings.get("gallery_bytes")
    return [
        _name(deployment, record),
        *(DASH if value is None else f"{value:.2f}" for value in stages),
        f"{1e3 * float(np.median(record.seconds)):.2f}",
        str(settings.get("gallery", DASH)),
        DASH if size is None else f"{size / 1e6:.1f}",
        f"{image['height']}×{image['width']}" if {"height", "width"} <= set(image) else DASH,
    ]


def _name(deployment: DeploymentView, record: LatencyRecord) -> str:
    height, width = record.resolution
    label = deployment.labels[record.artefact]
    return f"{label}, {height}×{width}, {runtime_label(record.runtime)} {record.precision}"


def _ms(record: LatencyRecord, stage: str) -> float | None:
    return 1e3 * float(np.median(record.stages[stage])) if record.stages.get(stage) else None
