"""Retrieval panels of the baseline and of the design's last cell, where their material has been written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vireid.report.figures.retrieval import material, retrieval_panel
from vireid.report.html import Html, absent, join, tag

if TYPE_CHECKING:
    from vireid.report.page import Report


def render(report: Report) -> Html:
    """One panel per cell, or the command that makes it."""
    view = report.view
    if not view.trained:
        return absent("No finished training.")
    done = {run.cell.name for run in view.trained}
    last = [cell.name for cell in view.design_cells if cell.name in done][-1:]
    pieces = []
    for name in dict.fromkeys((view.baseline.name, *last)):
        runs = [run for run in view.trained if run.cell.name == name]
        present = [run for run in runs if material(view, run).is_file()]
        if present:
            pieces.append(retrieval_panel(view, present[0], report.out, f"retrieval-{present[0].planned.fit}"))
        elif runs:
            command = tag("code", f"vireid explain {runs[0].planned.fit}")
            pieces.append(absent(f"No panel of {runs[0].cell.label} yet; ", command, " makes it."))
    return join(pieces)
