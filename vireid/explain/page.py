"""The page of a run: ranked lists, hardest queries, people, cameras, similarities; figures as reports draw them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

import vireid.report
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.evaluate import EvaluationResult
from vireid.explain.data import ALL, Similarities
from vireid.report.copies import Copies
from vireid.report.figures.canvas import GREY, OKABE_ITO, PAGE, SMALL, light_grid, new_figure, publish, styled
from vireid.report.html import Column, Html, join, link, paragraph, table, tag

MANY_PEOPLE = 60  # from here on the bars are too thin to be named
SAME, DIFFERENT, COPIES = OKABE_ITO[0], OKABE_ITO[5], OKABE_ITO[4]


def identity_bars(table: pd.DataFrame, note: str, out: Copies) -> Html:
    """Mean AP of every identity as bars, hardest first, with a dot for its rank-1 rate.

    Args:
        table: as ``identity_table`` gives it.
        note: ends the caption.
        out: folder that takes ``figures/``.
    """
    with styled():
        figure = new_figure(PAGE, 2.4)
        axes = figure.subplots()
        light_grid(axes)
        at = np.arange(len(table))
        axes.bar(at, 100 * table["mAP"], width=0.8, color=OKABE_ITO[4], label="mean AP")
        axes.plot(at, 100 * table["r1"], "o", color=OKABE_ITO[0], markersize=2.8, label="rank-1 rate")
        mean = 100 * float(np.average(table["mAP"], weights=table["queries"]))
        axes.axhline(mean, color=GREY, linewidth=1, linestyle=(0, (5, 2)), label=f"mAP {mean:.1f}")
        axes.set_xlim(-0.7, len(table) - 0.3)
        axes.set_ylim(0, _top(table))
        axes.set_ylabel("%")
        axes.set_xlabel("identity, hardest first")
        axes.set_xticks(at if len(table) <= MANY_PEOPLE else [])
        axes.set_xticklabels(table["identity"] if len(table) <= MANY_PEOPLE else [], rotation=90, fontsize=SMALL)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        caption = f"How well each of {len(table)} people is found: mean over their queries and all trials.{note}"
        return publish(figure, "identities", caption, out)


def camera_bars(table: pd.DataFrame, note: str, out: Copies) -> Html:
    """Bars of the mAP of every query camera: over the whole gallery, and in the images of each gallery camera alone."""
    with styled():
        galleries = list(dict.fromkeys(table["gallery_camera"]))
        cameras = sorted(set(table["query_camera"]))
        height = 1.3 + 0.24 * len(cameras) * min(len(galleries), 10)
        figure = new_figure(PAGE, max(1.8, 0.8 * height))
        axes = figure.subplots()
        light_grid(axes, "x")
        ends, names = [], []
        y = 0.0
        for camera in cameras:
            part = table[table["query_camera"] == camera]
            for gallery, value, hit in part[["gallery_camera", "mAP", "r1"]].to_numpy():
                whole = gallery == ALL
                axes.barh(y, 100 * value, height=0.8, color=OKABE_ITO[0] if whole else OKABE_ITO[4])
                axes.plot(100 * hit, y, "o", color="#000000", markersize=2.8)
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


def similarity_histograms(similarities: Mapping[str, Similarities], note: str, out: Copies) -> Html:
    """Cosine similarity of pairs of the same and of different people, one panel per combination of modalities."""
    with styled():
        figure = new_figure(PAGE, 2.3)
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


LISTED = 15  # identities in the page's table from the hard end; all are in the CSV
STYLE = """
.ranked { display: flex; gap: .3rem; margin: 0 0 .9rem; overflow-x: auto; align-items: flex-start; }
.ranked figure { margin: 0; flex: none; width: 5.2rem; font-size: .72rem; line-height: 1.25; color: var(--soft); }
.ranked img { display: block; width: 100%; height: 9.6rem; object-fit: contain; border: 3px solid var(--line); }
.ranked .query { margin-right: .7rem; } .ranked .query img { border-color: #444; }
.ranked .right img { border-color: #008a64; } .ranked .wrong img { border-color: #cc3311; }
.ranked .truth { margin-left: .7rem; } .ranked .truth img { border-color: #008a64; border-style: dashed; }
.ranked .right b { color: #008a64; } .ranked .wrong b { color: #cc3311; }
"""


def page(title: str, note: str, sections: Sequence[tuple[str, Html]]) -> str:
    """A whole HTML page in the style of reports; ``note`` is the warning that synthetic images need, or empty."""
    style = Path(vireid.report.__file__).with_name("template").joinpath("style.css").read_text(encoding="utf-8")
    anchors = [f"section-{number}" for number in range(len(sections))]
    named = list(zip(anchors, sections, strict=True))
    links = join(tag("a", heading, href=f"#{anchor}") for anchor, (heading, _) in named)
    body = join(join([tag("h2", heading, id=anchor), content]) for anchor, (heading, content) in named)
    lead = [tag("h1", title)] + ([tag("p", tag("strong", note), class_="notice")] if note else [])
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            tag("style", Html(style + STYLE)),
        ]
    )
    navigation = tag("header", tag("nav", tag("strong", title), links))
    content = join([tag("head", head), tag("body", navigation, tag("main", *lead, body))])
    return f'<!DOCTYPE html>\n<html lang="en">\n{content}\n</html>\n'


def ranked_lists(queries: Sequence[Mapping[str, Any]]) -> Html:
    """One row per query: its picture, then the gallery images by rank, framed and marked right or wrong.

    Args:
        queries: as in ``retrieval.json``; a query may carry ``note`` (shown below it) and ``truth`` (a picture with
            its ``rank``, shown behind the list).
    """
    rows = []
    for query in queries:
        shown = [_tile(query, "query", tag("b", "query"), str(query.get("note", "")))]
        for rank, entry in enumerate(query["ranked"], start=1):
            correct = bool(entry["correct"])
            shown.append(_tile(entry, "right" if correct else "wrong", tag("b", f"{rank} {'✓' if correct else '✗'}")))
        if truth := query.get("truth"):
            shown.append(_tile(truth, "truth", tag("b", f"at rank {truth['rank']}")))
        rows.append(tag("div", *shown, class_="ranked"))
    return join(rows)


def identity_rows(people: pd.DataFrame, hardest: Mapping[int, str], file: str) -> Html:
    """The hardest identities as a table; ``hardest`` names the hardest query of each by its image."""
    shown = people.head(LISTED)
    columns = [
        Column("Identity", text=True),
        Column("Queries"),
        *(Column(name, "%") for name in ("mAP", "R1", "mINP")),
        Column("Hardest query", text=True),
    ]
    rows: list[list[str]] = [
        [
            str(int(identity)),
            str(int(queries)),
            *(f"{100 * value:.1f}" for value in values),
            hardest.get(int(identity), ""),
        ]
        for identity, queries, *values in shown[["identity", "queries", "mAP", "r1", "mINP"]].to_numpy().tolist()
    ]
    caption = f"The {len(shown)} hardest of {len(people)} people."
    return table(columns, [("", rows)], caption, link(file, "CSV of all"))


def camera_rows(cameras: pd.DataFrame, file: str) -> Html:
    """Scores (mAP and rank-1 rate) by query camera and gallery camera."""
    galleries = sorted(set(cameras["gallery_camera"]), key=lambda name: (name != ALL, name))
    columns = [Column("Queries of", text=True), Column("Queries")]
    columns += [Column(name if name == ALL else f"camera {name}", "mAP % · R1 %") for name in galleries]
    rows: list[list[str]] = []
    for camera, part in cameras.groupby("query_camera"):
        values = part[["gallery_camera", "mAP", "r1"]].to_numpy().tolist()
        cells = {name: f"{100 * score:.1f} · {100 * hit:.1f}" for name, score, hit in values}
        rows.append([f"camera {camera}", str(part["queries"].max()), *(cells.get(name, "–") for name in galleries)])
    caption = (
        "Rows: cameras of the queries. Columns: the gallery they are searched in. –: left out by the protocol's rule."
    )
    return table(columns, [("", rows)], caption, link(file, "CSV"))


def similarity_rows(pairs_of: Mapping[str, Similarities], file: str) -> Html:
    """Number of pairs, mean similarities and separation by combination of modalities."""
    columns = [
        Column("Pairs", text=True),
        Column("Same person", "pairs"),
        Column("Mean", "cosine"),
        Column("Different people", "pairs"),
        Column("Mean", "cosine"),
        Column("Separation", "%"),
    ]
    rows: list[list[str]] = [
        [
            name,
            f"{pairs.same.sum():,}",
            f"{pairs.mean(pairs.same):.3f}",
            f"{pairs.different.sum():,}",
            f"{pairs.mean(pairs.different):.3f}",
            f"{100 * pairs.separation:.1f}",
        ]
        for name, pairs in pairs_of.items()
    ]
    caption = "A modality gap shows as a lower mean of the same person across modalities than within."
    return table(columns, [("", rows)], caption, link(file, "CSV of the histograms"))


def outcome(result: EvaluationResult, protocol: str) -> Html:
    """The run's numbers under the protocol of this page, with their intervals."""
    columns = [Column("Protocol", text=True), *(Column(name, "%") for name in result.metrics)]
    row: list[str] = [protocol]
    for name, value in result.metrics.items():
        interval = result.intervals.get(name)
        ends = "" if interval is None else f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
        row.append(join([f"{100 * value:.1f}", tag("small", ends)], ""))
    caption = (
        "Everything below was seen under this protocol. Small: 95 % interval over test identities (test sampling only)."
    )
    return table(columns, [("", [row])], caption)


def method(text: str) -> Html:
    """A paragraph on how to read what follows."""
    return paragraph(text, class_="method")


def _tile(entry: Mapping[str, Any], kind: str, label: Html, note: str = "") -> Html:
    name = f"identity {entry['identity']}, camera {entry['camera']}"
    text: list[str] = [
        label,
        Html("<br>"),
        f"id {entry['identity']}",
        Html("<br>"),
        f"cam {entry['camera']}",
    ]
    if note:
        text += [Html("<br>"), note]
    return tag("figure", tag("img", src=str(entry["image"]), alt=name, loading="lazy"), *text, class_=kind)
