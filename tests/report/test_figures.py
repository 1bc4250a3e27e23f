from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from tests.report.comparisons import SYSTEMS, build_comparison
from tests.report.studies import BuildStore, add_panel, build_factorial
from vireid.core.errors import UserError
from vireid.report.copies import Copies
from vireid.report.figures import canvas
from vireid.report.figures.canvas import (
    OKABE_ITO,
    PAGE,
    colour,
    dashes,
    new_figure,
    place_labels,
    small_multiples,
    styled,
)
from vireid.report.figures.cells import BASELINE_GREY, MANY, SEVERAL, cell_colour, cell_dashes, changed, leading
from vireid.report.figures.curves import dev_curves, training_curves, weight_curves
from vireid.report.html import Html
from vireid.report.page import open_report
from vireid.report.records.study import StudyView
from vireid.report.sections.scores import pareto_front, staircase
from vireid.store import Store


def test_pareto_front_equals_naive_search() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = [(float(x), float(y)) for x, y in rng.integers(0, 6, (12, 2))]
        naive = {
            p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
        }  # fmt: skip
        front = [points[i] for i in pareto_front(points)]
        assert set(front) == naive
        assert len(front) == len(naive)
        assert front == sorted(front)
    assert staircase([(1, 1), (2, 3)]) == [(1, 1), (2, 1), (2, 3)]


def test_labels_do_not_cover_each_other() -> None:
    figure = new_figure(6.5, 4)
    axes = figure.add_subplot()
    points = [(1.0, 1.0), (1.01, 1.01), (1.0, 1.02), (1.02, 1.0), (3.0, 3.0)]
    axes.scatter(*zip(*points, strict=True))
    axes.margins(0.3)
    place_labels(axes, points, [f"configuration {n}" for n in range(5)])
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [a.get_tightbbox(renderer) for a in axes.get_children() if isinstance(a, Annotation)]
    texts = [a for a in axes.get_children() if isinstance(a, Annotation)]
    assert len(texts) == 5
    extents = [a.get_window_extent(renderer) if a.arrow_patch is None else None for a in texts]
    plain = [e for e in extents if e is not None]
    assert not any(a.overlaps(b) for i, a in enumerate(plain) for b in plain[i + 1 :])
    frame = axes.get_window_extent(renderer)
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 for b in boxes if b is not None)


def test_cells_beyond_the_palette_differ_by_dashes() -> None:
    looks = [(colour(n), str(dashes(n))) for n in range(3 * len(OKABE_ITO))]
    assert len(set(looks)) == len(looks)


@pytest.mark.usefixtures("pdf")
def test_every_figure_has_vector_copies_and_says_what_it_is(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store((0, 1))
    fit = StudyView(store, "quick").runs[0].planned.fit
    add_panel(store, fit, queries=1)
    report = open_report(store.root, "quick", tmp_path)
    page = "".join(
        report.section(section) for section in ("scores", "accuracy_against_cost", "training", "latency", "retrieval")
    )
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == 9
    assert all("ynthetic data (renderer 1.0), not comparable with published results" in caption for caption in captions)
    names = {"scores-1", "tradeoff-latency", "tradeoff-macs", "curves", "weights", "latency", f"retrieval-{fit}"}
    kinds = {f"{name}.{kind}" for name in names for kind in ("svg", "pdf")}
    kinds |= {f"{name}.csv" for name in names if not name.startswith(("retrieval", "latency"))}  # pictures, raw samples
    assert {path.name for path in (tmp_path / "figures").iterdir()} == kinds
    for name in names:
        assert (tmp_path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (tmp_path / "figures" / f"{name}.svg").read_text()


def test_curves_bear_missing_keys(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store()
    view = StudyView(store, "quick")
    for run in view.runs:
        assert run.fit is not None
        store.put(run.fit.model_copy(update={"curves": [{"epoch": 0}, {"epoch": 1, "loss": 2.0, "terms": None}]}))
    view = StudyView(store, "quick")
    assert "total loss" in training_curves(view, Copies(tmp_path))
    assert weight_curves(view, Copies(tmp_path)) is None


def test_panel_absent_names_the_command_and_broken_names_the_file(build_store: BuildStore, tmp_path: Path) -> None:
    store = build_store()
    report = open_report(store.root, "quick", tmp_path)
    run = report.view.runs[0]
    assert f"vireid explain {run.planned.fit}" in report.section("retrieval")
    add_panel(store, run.planned.fit, queries=1)
    (report.view.panel(run).parent / "q0_r3.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"q0_r3.jpg.*vireid explain"):
        report.section("retrieval")
    report.view.panel(run).write_text("{}")
    with pytest.raises(UserError, match=r"retrieval.json: not a retrieval panel"):
        report.section("retrieval")


def test_a_colour_means_the_factor_that_a_cell_changes(factorial: Store) -> None:
    view = StudyView(factorial, "factorial")
    by_factors: dict[tuple[str, ...], set[str]] = {}
    for name, cell in view.cells.items():
        if cell.control is None:
            by_factors.setdefault(tuple(changed(view, cell)), set()).add(cell_colour(view, name))
    assert by_factors[()] == {BASELINE_GREY}
    single = [colours for factors, colours in by_factors.items() if len(factors) == 1]
    assert len(single) == 4
    assert all(len(colours) == 1 for colours in single)
    assert len(set().union(*single)) == 4
    assert set().union(*(colours for factors, colours in by_factors.items() if len(factors) > 1)) == {SEVERAL}


def test_of_many_cells_the_baseline_single_changes_and_the_fullest_are_drawn(factorial: Store) -> None:
    view = StudyView(factorial, "factorial")
    cells = [cell.name for cell in view.design_cells]
    shown = leading(view, cells)
    assert shown[0] == view.baseline.name
    assert [len(changed(view, view.cells[name])) for name in shown].count(1) == 4
    assert max(len(changed(view, view.cells[name])) for name in shown) == 4
    assert len(shown) == 6
    assert leading(view, cells[:3]) == cells[:3]


def test_no_figure_is_wider_than_the_page_of_a_paper() -> None:
    with pytest.raises(AssertionError):
        new_figure(7.0, 2.0)
    assert small_multiples([1.0] * 9, 4, 2.35, (0.4, 0.4)).figure.get_figwidth() <= PAGE


def with_own_term(store: Store, study: str) -> StudyView:
    """The study, every cell of which has a loss term named after it."""
    for run in StudyView(store, study).trained:
        curves = [{"epoch": epoch, "loss": 2.0, "lr": 0.1, "terms": {run.cell.name: 1.0}} for epoch in range(2)]
        store.put(run.fit.model_copy(update={"curves": curves}))
    return StudyView(store, study)


def test_curves_have_no_panel_without_a_line(tmp_path: Path) -> None:
    view = with_own_term(build_factorial(tmp_path / "store", (101,)), "factorial")
    training_curves(view, Copies(tmp_path))
    shown = leading(view, [run.cell.name for run in view.trained])
    assert 1 < len(shown) < len(view.trained)
    drawing = (tmp_path / "figures" / "curves.svg").read_text()
    drawn = {run.cell.name for run in view.trained if f"<!-- {run.cell.name.replace('_', ' ')} -->" in drawing}
    assert drawn == set(shown)


def test_curves_show_every_system_of_a_comparison_unlike(tmp_path: Path) -> None:
    view = with_own_term(build_comparison(tmp_path / "store"), "comparison")
    caption = training_curves(view, Copies(tmp_path))
    drawing = (tmp_path / "figures" / "curves.svg").read_text()
    assert all(f"<!-- {system} -->" in drawing for system in SYSTEMS)
    assert "changes of one factor" not in caption
    assert len({(cell_colour(view, name), cell_dashes(view, name)) for name in view.cells}) == len(SYSTEMS) > MANY


def test_titles_and_labels_of_latencies_are_inside_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_comparison(tmp_path / "store")
    long = {"graph optimisation": "all", "inter op spinning": "off"}
    for record in store.records(lambda row: row.kind == "latency"):
        runtime = {"name": "onnxruntime", **long}
        slow = [*record.seconds, 50 * max(record.seconds)]
        store.put(record.model_copy(update={"runtime": runtime, "seconds": slow}))
    kept: list[Figure] = []
    monkeypatch.setattr(canvas, "publish", lambda figure, *_, **__: kept.append(figure) or Html())
    open_report(store.root, "comparison", tmp_path / "out").section("latency")
    (figure,) = kept
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert all("\n" in axes.get_title(loc="left") for axes in panels)
    for axes in panels:
        edge = [text for text in axes.texts if "→" in text.get_text()]
        assert edge
        for text in (axes.title, axes._left_title, *edge):  # type: ignore[attr-defined]
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1 + 1
        frame = axes.get_window_extent(renderer)
        assert all(text.get_window_extent(renderer).x0 >= frame.x1 for text in edge)


def test_text_is_as_wide_when_laid_out_as_in_vector_copies() -> None:
    with styled():
        figure = new_figure(3, 1)
        name = figure.text(0, 0.5, "optimized_fork", weight="bold", fontsize=7)
        widths = []
        for dpi in (72, 96, 1200):  # of SVG and PDF, of the layout, and as fine as letters are drawn
            figure.set_dpi(dpi)
            widths.append(name.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / dpi)
        assert max(widths) / min(widths) < 1.02


def test_many_levels_are_named_beside_the_curves_on_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_comparison(tmp_path / "store")
    for run in StudyView(store, "comparison").trained:
        curves = [{"epoch": epoch, "dev": {"mAP": 0.4 + 0.01 * epoch}} for epoch in range(6)]
        store.put(run.fit.model_copy(update={"curves": curves}))
    kept: list[Figure] = []
    monkeypatch.setattr("vireid.report.figures.curves.publish", lambda figure, *_: kept.append(figure) or Html())
    dev_curves(StudyView(store, "comparison"), Copies(tmp_path))
    (figure,) = kept
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    key = axes.get_legend().get_window_extent(renderer)
    assert len(axes.get_legend().get_texts()) == len(SYSTEMS)
    assert axes.get_window_extent(renderer).x1 <= key.x0
    assert key.x1 <= figure.bbox.x1
    assert axes.get_window_extent(renderer).width > 1.3 * figure.dpi


def test_a_panel_whose_weights_are_elsewhere_says_how_they_come_back(build_store: BuildStore, tmp_path: Path) -> None:
    report = open_report(build_store().root, "quick", tmp_path)
    fit = report.view.runs[0].planned.fit
    page = report.section("retrieval")
    commands = (f"vireid results show {fit}", f"vireid explain {fit}", "vireid report quick --template explain")
    assert all(f"<code>{command}</code>" in page for command in commands)
    weights = report.view.store.directory(fit) / "model.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    assert f"yet; <code>vireid explain {fit}</code> makes it." in report.section("retrieval")
