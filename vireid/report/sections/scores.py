"""Scores per cell as bars with a dot per seed, one figure per protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vireid.report.figures.bars import bars
from vireid.report.html import Html, absent, join

if TYPE_CHECKING:
    from vireid.report.page import Report


def render(report: Report, *, text: bool = True) -> Html:
    """Without ``text`` only protocols of images alone are drawn."""
    tables = enumerate(report.tables(text=text), start=1)
    drawn = [bars(report.view, content, report.out, f"scores-{position}") for position, content in tables]
    return join(drawn) if drawn else absent("No scores yet.")
