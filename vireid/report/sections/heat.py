"""Where the similarity of a query to its match comes from (Grad-CAM), and what a model attends to."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from vireid.report.figures.canvas import PAGE, SMALL, new_figure, publish, styled
from vireid.report.html import Column, Html, absent, join, paragraph, table
from vireid.report.page import Report
from vireid.report.records.explained import HEAT, Explained
from vireid.report.records.keys import signed
from vireid.report.sections.runs import needs_weights
from vireid.report.tables import csv_text

SIDES = ("query", "match")
MOST = 6
_TILE = (72, 144)  # width, height in pixels
_COLOURS = "inferno"  # light where hot, and as dark in grey print as it is cold


def render_heat_maps(report: Report) -> Html:
    """Heat maps of every run over the same queries, and what hiding the hottest part costs."""
    every = [Explained(report.view, run) for run in report.runs]
    pieces: list[Html] = []
    for one in every:
        content = one.json(HEAT)
        if content is None:
            pieces.append(needs_weights(report, one))
            continue
        if "skipped" in content["grad_cam"]:
            pieces.append(absent(f"{one.run.cell.label}: no Grad-CAM: {content['grad_cam']['skipped']}."))
        rows = _rows(content)
        if rows:
            pieces.append(_panel(report, one, content, rows))
        if not content["attention"]:
            pieces.append(paragraph(f"{one.run.cell.label} attends to nothing: it has no attention.", class_="method"))
    if hidden := [(one, content) for one in every if (content := one.json(HEAT)) and "share" in content["grad_cam"]]:
        pieces.append(_hiding(report, hidden))
    return join(pieces)


def _rows(content: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What each line of a panel shows: its label, and where a pair names the map: a kind and a name."""
    rows = [] if "skipped" in content["grad_cam"] else [("Grad-CAM", "grad_cam", "")]
    for module in (found["module"] for found in content["attention"]):
        own = module.rpartition(".")[2]
        rows.append(("attention" if own == "attention" else f"attention\n{own}", "attention", module))
    return rows


def _panel(report: Report, one: Explained, content: dict[str, Any], rows: list[tuple[str, str, str]]) -> Html:
    pairs = content["pairs"][:MOST]
    folder = one.folder
    with styled():
        lines = [("image", "", ""), *rows]
        figure = new_figure(PAGE, 1.12 * len(lines) + 0.35)
        grid = figure.subplots(len(lines), 2 * len(pairs), squeeze=False)
        for line, (label, kind, name) in zip(grid, lines, strict=True):
            for number, pair in enumerate(pairs):
                for position, side in enumerate(SIDES):
                    axes = line[2 * number + position]
                    _draw(axes, folder, pair, side, kind, name)
                    if kind == "":
                        rank = f"\nrank {pair['match']['rank']}" if side == "match" else "\n"
                        axes.set_title(f"{side}{rank}", fontsize=SMALL, loc="center")
            line[0].set_ylabel(label, fontsize=SMALL)
        for number, pair in enumerate(pairs):
            grid[-1][2 * number].set_xlabel(f"id {pair['query']['identity']}", fontsize=SMALL)
            grid[-1][2 * number + 1].set_xlabel(f"cos {pair['similarity']:.2f}", fontsize=SMALL)
        caption = f"{one.run.cell.label}: {_caption(content)}{report.view.note}"
        return publish(figure, f"heat-{one.run.fit.id}", caption, report.copies)


def _caption(content: dict[str, Any]) -> str:
    texts = [
        "infrared or visible queries drawn by the images alone, each with its most similar true match and its rank."
    ]
    if "method" in content["grad_cam"]:
        layers = " and ".join(dict.fromkeys(content["grad_cam"]["layers"].values()))
        texts.append(
            f"{content['grad_cam']['method']}: the query's map follows its similarity to the matched gallery image, "
            f"the match's map that to the query, the other embedding held fixed; at the output of {layers}."
        )
    texts += [f"Attention of {found['module']}: {found['kind']}." for found in content["attention"]]
    texts.append(
        "Light is much; every map is scaled to its own range, so that brightness compares within a picture only."
    )
    return " ".join(texts)


def _draw(axes: Axes, folder: Path, pair: dict[str, Any], side: str, kind: str, name: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    with Image.open(folder / pair[side]["image"]) as image:
        pixels = image.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS)
    if kind == "":
        axes.imshow(pixels, interpolation="none")
        return
    file = pair[kind][side] if kind == "grad_cam" else pair[kind][name][side]
    with Image.open(folder / file) as picture:
        heat = np.asarray(picture.resize(_TILE, Image.Resampling.BILINEAR), dtype=np.float64) / 255
    axes.imshow(pixels.convert("L"), cmap="gray", interpolation="none")
    axes.imshow(heat, cmap=_COLOURS, alpha=0.6, vmin=0, vmax=1, interpolation="none")


def _hiding(report: Report, hidden: list[tuple[Explained, dict[str, Any]]]) -> Html:
    """What the similarity loses where the hottest, and where the coldest part of an image is hidden."""
    columns = [Column("Run", text=True), Column("Image", text=True), Column("As it is", "cosine")]
    columns += [Column("Hottest hidden", "change"), Column("Coldest hidden", "change"), Column("Hottest loses more")]
    rows, copies = [], []
    for one, content in hidden:
        for side in SIDES:
            values = [pair["hidden"][side] for pair in content["pairs"]]
            whole = float(np.mean([value["whole"] for value in values]))
            hot, cold = (float(np.mean([v[end] - v["whole"] for v in values])) for end in ("hottest", "coldest"))
            more = sum(value["hottest"] < value["coldest"] for value in values)
            label, changes = one.run.cell.label, [signed(hot, 3), signed(cold, 3)]
            rows.append([label, side, f"{whole:.3f}", *changes, f"{more} of {len(values)}"])
            named = {"run": one.run.fit.id, "configuration": label, "image": side, "similarity": whole}
            measured = {"hottest_hidden": hot, "coldest_hidden": cold, "hottest_loses_more": more, "of": len(values)}
            copies.append(named | measured)
    share, count = hidden[0][1]["grad_cam"]["share"], len(hidden[0][1]["pairs"])
    caption = (
        f"A check of the maps over {count} queries and their matches: the hottest, or the coldest, {100 * share:.0f} % "
        "of an image's pixels are hidden behind the mean colour. A map that shows where similarity comes from loses "
        f"more at its hot end.{report.view.note}"
    )
    return table(columns, [("", rows)], caption, report.copy("tables/hidden.csv", csv_text(copies)))
