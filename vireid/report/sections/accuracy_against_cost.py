"""Accuracy over latency and over MACs with the Pareto front."""

from vireid.report.figures.tradeoff import tradeoff
from vireid.report.html import Html, absent, join
from vireid.report.page import Report
from vireid.report.tables import COSTS


def render(report: Report, *, text: bool = True) -> Html:
    """Of the first protocol; without ``text`` the first of images alone."""
    tables = report.tables(text=text)
    if not tables:
        return absent("No scores yet.")
    costs = {column.key: column for column in COSTS}
    return join(tradeoff(report.view, tables[0], costs[k], report.out, f"tradeoff-{k}") for k in ("latency", "macs"))
