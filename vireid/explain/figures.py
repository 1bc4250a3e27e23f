"""Figures of a run's page, drawn as a report draws its own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from vireid.core.types import FloatArray, IntArray
from vireid.explain.data import ALL, Similarities
from vireid.report.figures.canvas import GREY, OKABE_ITO, light_grid, new_figure, publish, styled
from vireid.report.html import Html

MANY_PEOPLE = 60  # from here on the bars are too thin to be named
SAME, DIFFERENT, COPIES = OKABE_ITO[0], OKABE_ITO[5], OKABE_ITO[4]


def identity_bars(table: pd.DataFrame, note: str, out: Path) -> Html:
    """Mean AP of every identity as bars, hardest first, with a dot for its rank-1 rate.

    Args:
        table: as ``identity_table`` gives it.
        note: ends the caption.
        out: folder that takes ``figures/``.
    """
    with styled():
        figure = new_figure(9.2, 3.0)
        axes = figure.subplots()
        light_grid(axes)
        at = np.arange(len(table))
        axes.bar(at, 100 * table["mAP"], width=0.8, color=OKABE_ITO[4], label="mean AP")
        axes.plot(at, 100 * table["r1"], "o", color=OKABE_ITO[0], markersize=3.5, label="rank-1 rate")
        mean = 100 * float(np.average(table["mAP"], weights=table["queries"]))
        axes.axhline(mean, color=GREY, linewidth=1, linestyle=(0, (5, 2)), label=f"mAP {mean:.1f}")
        axes.set_xlim(-0.7, len(table) - 0.3)
        axes.set_ylim(0, _top(table))
        axes.set_ylabel("%")
        axes.set_xlabel("identity, hardest first")
        axes.set_xticks(at if len(table) <= MANY_PEOPLE else [])
        axes.set_xticklabels(table["identity"] if len(table) <= MANY_PEOPLE else [], rotation=90, fontsize=8)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        caption = f"How well each of {len(table)} people is found: mean over their queries and all trials.{note}"
        return publish(figure, "identities", caption, out)


def camera_bars(table: pd.DataFrame, note: str, out: Path) -> Html:
    """Bars of the mAP of every query camera: over the whole gallery, and in the images of each gallery camera alone."""
    with styled():
        galleries = list(dict.fromkeys(table["gallery_camera"]))
        cameras = sorted(set(table["query_camera"]))
        height = 1.3 + 0.24 * len(cameras) * min(len(galleries), 10)
        figure = new_figure(9.2, max(2.2, height))
        axes = figure.subplots()
        light_grid(axes, "x")
        ends, names = [], []
        y = 0.0
        for camera in cameras:
            part = table[table["query_camera"] == camera]
            for gallery, value, hit in part[["gallery_camera", "mAP", "r1"]].to_numpy():
                whole = gallery == ALL
                axes.barh(y, 100 * value, height=0.8, color=OKABE_ITO[0] if whole else OKABE_ITO[4])
                axes.plot(100 * hit, y, "o", color="#000000", markersize=3.5)
                ends.append(y)
                names.append(f"camera {camera} → {'all' if whole else f'camera {gallery}'}")
                y += 1
            y += 0.7
        axes.set_yticks(ends, names)
        axes.invert_yaxis()
        axes.set_xlim(0, _top(table))
        axes.set_xlabel("mAP (bar), rank-1 rate (dot), %")
        caption = (
            "Queries of each camera, searched in the whole gallery (dark; all trials) and among the images of one "
            f"gallery camera alone (light; first trial, no re-ranking).{note}"
        )
        return publish(figure, "cameras", caption, out)


def similarity_histograms(similarities: Mapping[str, Similarities], note: str, out: Path) -> Html:
    """Cosine similarity of pairs of the same and of different people, one panel per combination of modalities."""
    with styled():
        figure = new_figure(9.2, 2.9)
        panels = figure.subplots(1, len(similarities), sharex=True, squeeze=False)[0]
        for axes, (name, pairs) in zip(panels, similarities.items(), strict=True):
            for counts, shade, label, filled in (
                (pairs.different, DIFFERENT, "different people", True),
                (pairs.same, SAME, "same person", True),
                (pairs.same_camera, COPIES, "same person and camera", False),
            ):
                if not counts.sum():
                    continue
                centres, smooth = _density(counts, pairs)
                axes.plot(centres, smooth, color=shade, label=label, linestyle="-" if filled else (0, (4, 2)))
                if filled:
                    axes.fill_between(centres, smooth, color=shade, alpha=0.18, linewidth=0)
            axes.set_title(f"{name}\nseparation {100 * pairs.separation:.1f} %")
            axes.set_xlabel("cosine similarity")
            axes.set_yticks([])
            axes.set_ylim(bottom=0)
            axes.spines["left"].set_visible(False)
        low, high = _range(similarities)
        panels[0].set_xlim(low, high)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        caption = (
            "How similar two images are, as shares of all pairs of a kind. Separation: the chance that a pair of the "
            "same person is more similar than a pair of different people (50 % is none). Within a modality, pairs of "
            f"the same person come from two cameras where there are several.{note}"
        )
        return publish(figure, "similarities", caption, out)


def _density(counts: IntArray, pairs: Similarities) -> tuple[FloatArray, FloatArray]:
    """Bin centres, and the histogram as a density, smoothed by Silverman's rule (1986): few pairs more than many."""
    step = float(pairs.edges[1] - pairs.edges[0])
    centres = (pairs.edges[1:] + pairs.edges[:-1]) / 2
    total = counts.sum()
    spread = float(np.sqrt((counts * (centres - pairs.mean(counts)) ** 2).sum() / total))
    bandwidth = max(1.0, 1.06 * spread * float(total) ** -0.2 / step)
    return centres, np.asarray(gaussian_filter1d(counts / total / step, bandwidth, mode="constant"))


def _top(table: pd.DataFrame) -> float:
    """End of an axis in percent: all of it for a good model, less where nothing comes near."""
    return min(103.0, 115 * float(table[["mAP", "r1"]].to_numpy().max()))


def _range(similarities: Mapping[str, Similarities]) -> tuple[float, float]:
    """The part of the axis that holds all but a thousandth of each kind of pair, with some room."""
    lows, highs = [], []
    for pairs in similarities.values():
        for counts in (pairs.same, pairs.different):
            if counts.sum():
                share = np.cumsum(counts) / counts.sum()
                lows.append(pairs.edges[int(np.searchsorted(share, 0.001))])
                highs.append(pairs.edges[int(np.searchsorted(share, 0.999)) + 1])
    return max(-1.0, min(lows) - 0.05), min(1.0, max(highs) + 0.05)
