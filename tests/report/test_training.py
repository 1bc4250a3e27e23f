from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.report.studies import BuildStore, build_factorial
from vireid.report.copies import Copies
from vireid.report.figures.curves import RANGE, dev_curves, over_seeds, weight_curves
from vireid.report.records.study import StudyView
from vireid.report.sections.training import RULES, dev_scores, selection_table
from vireid.store import Store


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_factorial(tmp_path_factory.mktemp("dev"), (101, 102), dev=True)


def test_rules_read_the_same_training_differently() -> None:
    scores = [0.1, 0.5, 0.2, 0.3, 0.4, 0.3, 0.35]
    assert [rule(scores) for rule in RULES.values()] == pytest.approx([0.35, 0.5, (0.2 + 0.3 + 0.4 + 0.3 + 0.35) / 5])


def test_table_agrees_with_the_curves(study: Store) -> None:
    view = StudyView(study, "factorial")
    table = selection_table(view)
    assert table is not None
    fits = [run.fit for run in view.runs if run.cell.name == "0010" and run.fit]
    best = np.mean([max(dev_scores(fit)[1]) for fit in fits])
    row = next(line for line in table.split("<tr>") if ">+ augmentation<" in line)
    assert f"<span>{100 * best:.1f}<span" in row
    assert 'title="2 seeds, no effect claimed"' in row
    assert "too good by construction" in table


def test_without_dev_scores_there_is_no_table(build_store: BuildStore, tmp_path: Path) -> None:
    view = StudyView(build_store(), "quick")
    assert selection_table(view) is None
    assert dev_curves(view, Copies(tmp_path)) is None


def test_dev_figure_has_a_panel_per_factor(study: Store, tmp_path: Path) -> None:
    view = StudyView(study, "factorial")
    figure = dev_curves(view, Copies(tmp_path))
    assert figure is not None
    assert "held-out training identities" in figure
    drawing = (tmp_path / "figures" / "dev.svg").read_text()
    titles = ("IBN", "MHA", "augmentation", "adaptive weighting")
    assert all(f"<!-- {title} -->" in drawing for title in titles)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_lines_are_means_and_bands_what_they_are_called_whatever_the_axis(scale: str) -> None:
    axes = Figure().subplots()
    axes.set_yscale(scale)
    seeds = [{1.0: 1.0, 2.0: 4.0, 3.0: 9.0}, {2.0: 100.0, 1.0: 3.0}]
    over_seeds(axes, seeds, "red", band=RANGE)
    (line,), (band,) = axes.lines, axes.collections
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1.0, 2.0], [2.0, 52.0])
    ends = {tuple(point) for point in band.get_paths()[0].vertices}
    assert ends == {(1.0, 1.0), (1.0, 3.0), (2.0, 4.0), (2.0, 100.0)}
    over_seeds(axes, seeds, "red")
    deviation = {round(float(y), 6) for _, y in axes.collections[1].get_paths()[0].vertices}
    expected = [
        mean + sign * np.std(values, ddof=1) for mean, values in ((2, (1, 3)), (52, (4, 100))) for sign in (-1, 1)
    ]
    assert deviation == {round(float(value), 6) for value in expected}


def test_weights_are_relative_to_the_fixed_ones(study: Store, tmp_path: Path) -> None:
    view = StudyView(study, "factorial")
    figure = weight_curves(view, Copies(tmp_path))
    assert figure is not None
    assert "Relative to the constant weights" in figure
    drawing = (tmp_path / "figures" / "weights.svg").read_text()
    assert "<!-- uncertainty -->" in drawing
