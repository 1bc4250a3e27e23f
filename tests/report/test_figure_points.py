"""The CSV beside a figure has the numbers that the figure was drawn from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from vireid.report.copies import Copies, kinds_of
from vireid.report.figures.canvas import publish
from vireid.report.figures.points import points_csv


def read(figure: Figure) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(points_csv(figure)))


def test_lines_points_bars_intervals_and_bands_are_those_that_were_drawn() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_title("Curves", loc="left")
    left.set_xlabel("epoch")
    epochs, loss = np.arange(1, 6), np.array([5.0, 3.5, 2.2, 1.7, 1.6000000000000003])
    left.plot(epochs, loss, label="IDKL")
    left.fill_between(epochs, loss - 0.1, loss + 0.1)
    left.axhline(0.5, label="chance")
    right.barh([0, 1], [31.25, 40.5])
    right.set_yticks([0, 1], ["baseline", "Ours"])
    right.errorbar([31.25], [0], xerr=[[1.25], [2.0]], fmt="none")
    right.scatter([30.0, 32.5], [0.1, -0.1])
    table = read(figure)

    line = table[(table.panel == "Curves") & (table.kind == "line") & (table.series == "IDKL")]
    assert line.x.tolist() == epochs.tolist()
    assert line.y.tolist() == pytest.approx(loss.tolist(), rel=1e-8)
    assert set(line.x_axis) == {"epoch"}
    assert table[table.series == "chance"].y.tolist() == [0.5]
    assert {1.5, 1.7} <= set(table[table.kind == "band"].y.round(12))

    bars = table[table.kind == "bar"]
    assert list(zip(bars.y_name, bars.x, strict=True)) == [("baseline", 31.25), ("Ours", 40.5)]
    interval = table[table.kind == "interval"].iloc[0]
    assert (interval.x, interval.x_end, interval.y_name) == (30.0, 33.25, "baseline")
    points = table[(table.kind == "point") & (table.panel != "Curves")]
    assert points.x.tolist() == [30.0, 32.5]
    assert set(points.y_name) == {"baseline"}


def test_ticks_that_are_numbers_are_no_names() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.bar([0, 1], [3.0, 4.0])
    axes.set_xticks([0, 1], [101, 102])
    assert "x_name" not in read(figure)


def test_series_are_found_by_the_legend_and_points_by_what_stands_beside_them() -> None:
    from matplotlib.lines import Line2D

    figure = Figure()
    axes = figure.subplots()
    axes.scatter([1.0, 2.0], [3.0, 4.0], color=["#0072B2", "#E69F00"], alpha=0.5)
    axes.annotate("compact,\nint8", (2.0, 4.0), (5, 5), textcoords="offset points")
    axes.legend(handles=[Line2D([], [], color="#0072B2", label="IDKL"), Line2D([], [], color="#E69F00", label="AGW")])
    assert read(figure).series.tolist() == ["IDKL", "compact, int8"]


def test_pictures_have_no_numbers_and_a_copy_lies_beside_the_figure_only_where_it_is_wanted(tmp_path: Path) -> None:
    photograph, curve = Figure(), Figure()
    photograph.subplots().imshow(np.zeros((4, 4)))
    curve.subplots().plot([1, 2], [3, 4])
    page = publish(photograph, "photograph", "A photograph.", Copies(tmp_path))
    assert "figures/photograph.csv" not in page
    page = publish(curve, "curve", "A curve.", Copies(tmp_path))
    assert 'href="figures/curve.csv"' in page
    assert pd.read_csv(tmp_path / "figures/curve.csv").y.tolist() == [3, 4]
    page = publish(curve, "other", "A curve.", Copies(tmp_path, kinds_of(["pdf"])))
    assert not (tmp_path / "figures/other.csv").exists()
    assert "other.csv" not in page
