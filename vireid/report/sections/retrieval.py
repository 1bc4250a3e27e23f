"""Retrieval panel: queries and their ten nearest gallery images, right and wrong ones framed and marked.

Its material is written beside a run by ``vireid explain RUN``: ``runs/<fit>/explain/retrieval.json`` and the images it
names, ``{"protocol": card, "queries": [{"image", "identity", "camera", "ranked": [{…, "correct"}, …]}, …]}``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from PIL import Image

from vireid.core.errors import UserError
from vireid.core.protocol_card import ProtocolCard
from vireid.report.copies import Copies
from vireid.report.figures.canvas import NEGATIVE, PAGE, POSITIVE, SMALL, new_figure, publish, styled
from vireid.report.html import Html, absent, join, tag
from vireid.report.page import Report
from vireid.report.records.explained import WEIGHTS
from vireid.report.records.study import RunView, StudyView

TOP = 10
MAX_QUERIES = 6
_TILE = (48, 96)  # width, height in pixels: as large as the page shows; a panel holds 66 of them


def render_retrieval(report: Report) -> Html:
    """One panel per cell, or the command that makes it."""
    view = report.view
    if not view.trained:
        return absent("No finished training.")
    done = {run.cell.name for run in view.trained}
    last = [cell.name for cell in view.design_cells if cell.name in done][-1:]
    pieces = []
    for name in dict.fromkeys((view.baseline.name, *last)):
        runs = [run for run in view.trained if run.cell.name == name]
        present = [run for run in runs if view.panel(run).is_file()]
        if present:
            pieces.append(retrieval_panel(view, present[0], report.copies, f"retrieval-{present[0].planned.fit}"))
        elif runs:
            pieces.append(_missing(view, runs[0]))
    return join(pieces)


def _missing(view: StudyView, run: RunView) -> Html:
    """How a panel is made; of a fit whose weights are elsewhere, what there is without them."""
    fit = run.planned.fit
    explain = tag("code", f"vireid explain {fit}")
    if view.store.has_artefact(fit, WEIGHTS):
        return absent(f"No panel of {run.cell.label} yet; ", explain, " makes it.")
    return absent(
        f"No panel of {run.cell.label}: pictures need the weights, which are not in this store. ",
        tag("code", f"vireid results show {fit}"), " prints the command that trains them again; then ", explain,
        " makes it. Best and worst queries without pictures: ",
        tag("code", f"vireid report {view.plan.name} --template explain"), ".",
    )  # fmt: skip


def retrieval_panel(view: StudyView, run: RunView, out: Copies, name: str) -> Html:
    """The panel of one run.

    Raises:
        UserError: the material is unreadable or names an image that is not there.
    """
    path = view.panel(run)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        queries = content["queries"][:MAX_QUERIES]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a retrieval panel ({error}); write it anew with `vireid explain {run.planned.fit}`"
        ) from error
    card = content.get("protocol")
    under = f", {ProtocolCard.model_validate(card).full_title}" if card else ""
    caption = (
        f"Retrieval by {run.cell.label} (seed {run.seed}, run {run.planned.fit}{under}): each query and its "
        f"nearest gallery images by rank; ✓, green: same identity, ✗, red: another.{view.note}"
    )
    return ranked_panel(queries, path, run.planned.fit, caption, out, name)


def ranked_panel(queries: Sequence[dict[str, Any]], path: Path, fit: str, caption: str, out: Copies, name: str) -> Html:
    """Queries and their ranked lists as a figure, one line each.

    Args:
        queries: as in ``retrieval.json``; ``note`` of one stands before its list.
        path: the file that they come from; its images lie beside it.
        fit: id of the run.
        caption: of the figure.
        out: folder of copies.
        name: of the figure.

    Raises:
        UserError: an image is not there.
    """
    with styled():
        figure = new_figure(PAGE, 1.29 * len(queries) + 0.25)
        widths = [1.0, 0.22, *[1.0] * TOP]
        grid = figure.subplots(len(queries), TOP + 2, squeeze=False, gridspec_kw={"width_ratios": widths})
        for line, query in zip(grid, queries, strict=True):
            draw_tile(line[0], path, query, fit, None)
            line[1].set_axis_off()
            if note := query.get("note"):
                turn = 90 if len(note) > 1 else 0
                line[1].text(0.5, 0.5, note, rotation=turn, ha="center", va="center", fontsize=SMALL)
            ranked = query["ranked"][:TOP]
            for axes, entry in zip(line[2:], ranked, strict=False):
                draw_tile(axes, path, entry, fit, bool(entry["correct"]))
            for axes in line[2 + len(ranked) :]:
                axes.set_axis_off()
        grid[0][0].set_title("query", fontsize=SMALL, loc="center")
        for rank, axes in enumerate(grid[0][2:], start=1):
            axes.set_title(str(rank), fontsize=SMALL, loc="center")
        return publish(figure, name, caption, out)


def draw_tile(axes: Axes, path: Path, entry: dict[str, Any], fit: str, correct: bool | None) -> None:
    """One image in a frame that says whether it is right (None: a query), with identity and camera below it.

    Raises:
        UserError: the image is not there.
    """
    file = path.parent / str(entry["image"])
    try:
        with Image.open(file) as image:
            pixels = image.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS)
    except OSError as error:
        raise UserError(
            f"{file}: missing or unreadable image; write the panel anew with `vireid explain {fit}`"
        ) from error
    axes.imshow(pixels, aspect="equal", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    shade = "#444444" if correct is None else POSITIVE if correct else NEGATIVE
    for spine in axes.spines.values():
        spine.set(visible=True, color=shade, linewidth=1 if correct is None else 3)
    mark = "" if correct is None else "✓ " if correct else "✗ "
    axes.set_xlabel(f"{mark}{entry['identity']}\ncam {entry['camera']}", fontsize=SMALL, color=shade, labelpad=3)
