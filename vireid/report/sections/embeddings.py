"""Where embeddings lie: a map in two dimensions, and how similar images are across modalities before and after."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from vireid.report.figures.canvas import OKABE_ITO, PAGE, SMALL, TITLE_LINE, light_grid, new_figure, publish, styled
from vireid.report.html import Column, Html, absent, join, table
from vireid.report.page import Report
from vireid.report.records.explained import AFTER, BEFORE, CROSS, MAP, Explained
from vireid.report.sections.runs import needs_weights, short_label
from vireid.report.tables import csv_text

SAME, DIFFERENT = OKABE_ITO[0], OKABE_ITO[5]
_MARKS = {"visible": "o", "infrared": "^"}
_SHADES = {"visible": OKABE_ITO[0], "infrared": OKABE_ITO[1]}


def render_embedding_map(report: Report) -> Html:
    """t-SNE of a few people's images, by identity and by modality, a line per run."""
    every = [Explained(report.view, run) for run in report.runs]
    if lacking := [one for one in every if not one.settings]:
        return needs_weights(report, *lacking)
    tables = {one: places for one in every if (places := one.table(MAP)) is not None}
    if not tables:
        return absent(f"No map: {every[0].settings['map'].get('skipped', 'it was not made')}.")
    with styled():
        figure = new_figure(PAGE, 3.1 * len(tables) + 0.3)
        grid = figure.subplots(len(tables), 2, squeeze=False)
        for (one, places), (left, right) in zip(tables.items(), grid, strict=True):
            _by_identity(left, places)
            _by_modality(right, places)
            left.set_title(short_label(f"{one.run.cell.label}: by identity", TITLE_LINE))
            right.set_title("by modality")
            for axes in (left, right):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_xlabel("")
                axes.set_ylabel("")
                axes.set_aspect("equal", adjustable="datalim")
        first = next(iter(tables.values()))
        made = [one.settings["map"] for one in tables]
        caption = (
            f"Embeddings of {len(first)} images of {first['identity'].nunique()} test identities, by t-SNE (perplexity "
            f"{made[0]['perplexity']:g}, seed {made[0]['seed']}, started from principal components). Left: a colour "
            "and a number for each identity; circles visible, triangles infrared. Right: the same points by modality. "
            "Neighbours mean something, distances between groups and their sizes do not."
            f"{report.view.note}"
        )
        return publish(figure, "embedding-map", caption, report.copies)


def _by_identity(axes: Axes, places: pd.DataFrame) -> None:
    people = sorted(places["identity"].unique())
    palette = dict(zip(people, sns.color_palette("husl", len(people)), strict=True))
    sns.scatterplot(
        places, x="x", y="y", hue="identity", palette=palette, style="modality", markers=_MARKS, s=14, linewidth=0.3,
        legend=False, ax=axes,
    )  # fmt: skip
    for identity, group in places.groupby("identity"):
        middle = float(group["x"].median()), float(group["y"].median())
        axes.annotate(
            str(identity), middle, ha="center", va="center", fontsize=SMALL, fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "edgecolor": palette[identity]},
        )  # fmt: skip


def _by_modality(axes: Axes, places: pd.DataFrame) -> None:
    sns.scatterplot(
        places, x="x", y="y", hue="modality", palette=_SHADES, style="modality", markers=_MARKS, s=14, linewidth=0.3,
        ax=axes,
    )  # fmt: skip
    axes.legend(title=None, loc="best", frameon=True, framealpha=0.8)


def render_similarity_shift(report: Report) -> Html:
    """Similarities across modalities of the same and of different identities: before training, by either run."""
    every = [Explained(report.view, run) for run in report.runs]
    if lacking := [one for one in every if not one.settings]:
        return needs_weights(report, *lacking)
    states = _states(every)
    low, high = _range([counts for _, counts in states])
    with styled():
        columns = len(states)
        figure = new_figure(PAGE, 2.4)
        panels = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
        for axes, (name, counts) in zip(panels, states, strict=True):
            light_grid(axes, "x")
            edges = np.append(counts["from"].to_numpy(), counts["to"].iloc[-1])
            bins = _coarse(edges, low, high).tolist()
            for column, shade, label in (
                ("different_people", DIFFERENT, "different identities"),
                ("same_person", SAME, "same identity"),
            ):
                sns.histplot(
                    x=(counts["from"] + counts["to"]) / 2, weights=counts[column], bins=bins,
                    stat="density", element="step", color=shade, alpha=0.2, linewidth=1.2, label=label, ax=axes,
                )  # fmt: skip
                axes.axvline(_mean(counts, column), color=shade, linewidth=0.9, linestyle=(0, (4, 2)))
            axes.set_title(f"{short_label(name, 34)}\nseparation {100 * _separation(counts):.1f} %")
            axes.set_xlabel("cosine similarity")
            axes.set_ylabel("density" if axes is panels[0] else "")
            axes.set_yticks([])
        panels[0].set_xlim(low, high)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        caption = (
            "Cosine similarity of infrared with visible images. Dashed: means. Separation: the chance that a pair of "
            "the same identity is more similar than a pair of different ones (50 % is none). "
            f"{_of_start(every)}{report.view.note}"
        )
        drawing = publish(figure, "similarity-shift", caption.replace("  ", " "), report.copies)
    return join([drawing, _numbers(report, states)])


State = tuple[str, pd.DataFrame]


def _states(every: Sequence[Explained]) -> list[State]:
    """Histograms of pairs across modalities: one run with its start, or two runs, the second with its start."""
    states: list[State] = []
    last = every[-1]
    start = last.table(BEFORE)
    if start is not None:
        across = start[start["pairs"] == CROSS]
        states.append((f"{last.run.cell.label}: before training", across[across["weights"] == "start"]))
        if len(every) == 1:
            return [*states, (f"{last.run.cell.label}: after training", across[across["weights"] == "trained"])]
    for one in every:
        counts = one.table(AFTER)
        assert counts is not None
        states.append((f"{one.run.cell.label}: after training", counts[counts["pairs"] == CROSS]))
    return states


def _of_start(every: Sequence[Explained]) -> str:
    start = every[-1].settings["start"]
    if "skipped" in start:
        return f"No weights before training: {start['skipped']}."
    return f"Before training: {start['weights']}; {start['images']} images."


def _coarse(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bin edges between the ends, as few as a panel of two inches shows, taken from those that were counted in."""
    inside = edges[(edges >= low - 1e-9) & (edges <= high + 1e-9)]
    return inside[:: max(1, len(inside) // 60)]


def _mean(counts: pd.DataFrame, column: str) -> float:
    return float(np.average((counts["from"] + counts["to"]) / 2, weights=counts[column]))


def _separation(counts: pd.DataFrame) -> float:
    """Chance that a pair of the same identity is more similar than one of different ones; ties in a bin count half."""
    below = counts["different_people"].cumsum() - 0.5 * counts["different_people"]
    pairs = float(counts["same_person"].sum()) * float(counts["different_people"].sum())
    return float((counts["same_person"] * below).sum() / pairs) if pairs else float("nan")


def _range(states: Sequence[pd.DataFrame]) -> tuple[float, float]:
    """The part of the axis that holds all but a thousandth of each kind of pair."""
    lows, highs = [], []
    for counts in states:
        for column in ("same_person", "different_people"):
            share = counts[column].cumsum() / counts[column].sum()
            lows.append(float(counts["from"].iloc[int(np.searchsorted(share, 0.001))]))
            highs.append(float(counts["to"].iloc[int(np.searchsorted(share, 0.999))]))
    return max(-1.0, min(lows) - 0.03), min(1.0, max(highs) + 0.03)


def _numbers(report: Report, states: Sequence[State]) -> Html:
    columns = [
        Column("Weights", text=True),
        Column("Same identity", "mean cosine"),
        Column("Different identities", "mean cosine"),
        Column("Gap", "cosine"),
        Column("Separation", "%"),
        Column("Pairs", "same · different"),
    ]
    rows, copies = [], []
    for name, counts in states:
        same, different, apart = _mean(counts, "same_person"), _mean(counts, "different_people"), _separation(counts)
        pairs = int(counts["same_person"].sum()), int(counts["different_people"].sum())
        numbers = [f"{value:.3f}".replace("-", "−") for value in (same, different, same - different)]
        rows.append([name, *numbers, f"{100 * apart:.1f}", f"{pairs[0]:,} · {pairs[1]:,}"])
        means = {"weights": name, "same_identity": same, "different_identities": different, "separation": apart}
        copies.append(means | {"same_pairs": pairs[0], "different_pairs": pairs[1]})
    copy = report.copy("tables/similarities.csv", csv_text(copies))
    return table(columns, [("", rows)], f"Means of the curves above.{report.view.note}", copy)
