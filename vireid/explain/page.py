"""The page of a run: ranked lists, hardest queries, people, cameras, similarities, in one folder with its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import vireid.report
from vireid.evaluation.evaluate import EvaluationResult
from vireid.explain.data import ALL, Similarities
from vireid.report.html import Column, Html, join, link, paragraph, table, tag

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
        [str(int(identity)), str(int(queries)), *_percents(*values), hardest.get(int(identity), "")]
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


def _percents(*values: float) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]
