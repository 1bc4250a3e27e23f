"""What text adds to infrared queries: scores with text in tables of their own, and their gain over infrared alone.

Infrared alone is the same network evaluated without text and, in a study that switches text on, also the baseline, a
network that was trained on images alone. A score with text never stands in a column with one without.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from vireid.core.config import canonical_json
from vireid.report.html import Column, Content, Fragment, Rows, bullets, join, link, paragraph, table, tag
from vireid.report.load import Setting, StudyView, as_sentence, cells_are_levels, data_note
from vireid.report.protocols import PLAIN, protocol_title
from vireid.report.statistics import (
    LEVEL,
    MIN_SEEDS,
    Difference,
    Summary,
    difference,
    holm,
    interval,
    paired,
    points,
    seeds_phrase,
    signed,
    summary,
)
from vireid.report.tables import SCORES, score_entry
from vireid.store import write_atomically

METRICS = {"r1": "R1", "mAP": "mAP"}  # of which differences are taken
SAME, TRAINED_ALONE = "the same network without text", "a network trained on images alone"
_SHORT = {SAME: "over the same network", TRAINED_ALONE: "over images alone"}
_SOURCES = {
    "query": "the query's own caption",
    "oracle": "a caption of a visible image of the query's true identity, which no search knows",
}
_WORDS = {
    "Witness_IR": "in the words of somebody who saw the person by daylight, colours included",
    "Blip_IR": "as a captioner describes the infrared image, which shows no colour",
}
_DASH = "–"


@dataclass(frozen=True)
class Gain:
    """Score with text less that of infrared alone, in one metric; ``over`` says which network without text."""

    metric: str
    over: str
    difference: Difference | None  # None where no seed has both
    p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the corrected test shows a difference."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL


@dataclass(frozen=True)
class TextRow:
    """One cell under one text source and re-ranking."""

    setting: Setting
    reranking: str
    cell: str
    label: str
    scores: dict[str, Summary | None]
    gains: tuple[Gain, ...]

    @property
    def seeds(self) -> int:
        """Number of seeds that have a score."""
        return max((score.n for score in self.scores.values() if score is not None), default=0)

    def gain(self, metric: str, over: str) -> Gain | None:
        """That gain, where the study can have it."""
        return next((gain for gain in self.gains if (gain.metric, gain.over) == (metric, over)), None)


def reads_text(setting: Setting) -> bool:
    """Whether queries of this setting come with text."""
    return json.loads(setting.protocol).get("text") not in (None, False, "none")


def source(card: Mapping[str, Any]) -> str:
    """Whose words queries have, such as ``text=query, captions Witness_IR: the query's own caption``."""
    text = str(card.get("text"))
    captions = f", captions {card['captions']}" if card.get("captions") else ""
    told = [_SOURCES.get(text, ""), _WORDS.get(str(card.get("captions")), "")]
    words = ", ".join(filter(None, told))
    return f"text={text}{captions}" + (f": {words}" if words else "")


def text_rows(view: StudyView) -> list[TextRow]:
    """Every cell evaluated with text, source by source; corrected over the cells of a source and re-ranking."""
    found: list[TextRow] = []
    for setting in view.settings:
        if not reads_text(setting):
            continue
        alone = view.scores_in(_without_text(setting))
        for reranking, block in view.scores_in(setting).groupby("reranking", sort=False):
            plain = alone[alone.reranking == reranking]
            cells = [cell.name for cell in view.design_cells if cell.name in set(block.cell)]
            rows = [_row(view, setting, str(reranking), name, block[block.cell == name], plain) for name in cells]
            found += _corrected(rows)
    return found


def _row(
    view: StudyView, setting: Setting, reranking: str, cell: str, own: pd.DataFrame, plain: pd.DataFrame
) -> TextRow:
    networks = {SAME: plain[plain.cell == cell]}
    if view.baseline.name != cell and not cells_are_levels(view.plan):  # another system is no infrared alone
        networks[TRAINED_ALONE] = plain[plain.cell == view.baseline.name]
    return TextRow(
        setting=setting,
        reranking=reranking,
        cell=cell,
        label=view.cells[cell].label,
        scores={metric: summary([float(v) for v in own[metric]]) for metric in SCORES},
        gains=tuple(
            Gain(metric, over, _gain(own, without, metric)) for over, without in networks.items() for metric in METRICS
        ),
    )


def _gain(own: pd.DataFrame, without: pd.DataFrame, metric: str) -> Difference | None:
    both = pd.concat([without.assign(cell="without"), own.assign(cell="with")])
    return difference(paired(both, metric, (("without", "with"),)))


def _corrected(rows: Sequence[TextRow]) -> list[TextRow]:
    """Holm's correction over the cells, for each metric and each network without text by itself."""
    kinds = dict.fromkeys((gain.metric, gain.over) for row in rows for gain in row.gains)
    corrected: dict[tuple[str, str, str], float | None] = {}
    for metric, over in kinds:
        gains = {row.cell: gain for row in rows if (gain := row.gain(metric, over)) is not None}
        p = holm([None if gain.difference is None else gain.difference.p for gain in gains.values()])
        corrected |= {(cell, metric, over): value for cell, value in zip(gains, p, strict=True)}
    return [
        replace(row, gains=tuple(replace(g, p_holm=corrected[row.cell, g.metric, g.over]) for g in row.gains))
        for row in rows
    ]


def _without_text(setting: Setting) -> Setting:
    """The setting that differs in nothing but that nothing is said of the queries."""
    card = {key: value for key, value in json.loads(setting.protocol).items() if key != "captions"}
    return replace(setting, protocol=canonical_json({**card, "text": "none"}))


def text_sentence(row: TextRow, metric: str = "mAP", over: str = SAME) -> str:
    """``"agw: infrared + caption beats infrared alone by 3.1 mAP [1.2, 5.0] (text=query, …; the same network …)"``."""
    card = json.loads(row.setting.protocol)
    said = f"text={card['text']}" + (f", {card['captions']}" if card.get("captions") else "")
    where = f"({said}; {over})"
    gain = row.gain(metric, over)
    change = gain.difference if gain is not None else None
    if gain is None or change is None:
        return f"{row.label}: no score of infrared alone to compare infrared + caption with {where}"
    if change.n < MIN_SEEDS:
        return f"{row.label}: infrared + caption against infrared alone: {seeds_phrase(change.n)} " + (
            f"({points(change, METRICS[metric])}) {where}"
        )
    if not gain.shown:
        words = points(change, METRICS[metric])
        return f"{row.label}: no difference between infrared + caption and infrared alone shown, {words} {where}"
    verb = "beats infrared alone by" if change.mean > 0 else "falls behind infrared alone by"
    words = f"{abs(100 * change.mean):.1f} points of {METRICS[metric]} {interval(change)}"
    return f"{row.label}: infrared + caption {verb} {words} {where}"


def text_section(view: StudyView, out: Path) -> Fragment:
    """Sentences and one table per protocol with text, with a CSV copy; says so where no query had text."""
    rows = text_rows(view)
    if not rows:
        return paragraph("No query had text.", class_="absent")
    write_atomically(out / "tables/text.csv", text_csv(rows))
    pieces: list[Content] = [bullets(_items(rows))]
    for setting in dict.fromkeys(row.setting for row in rows):
        own = [row for row in rows if row.setting == setting]
        pieces += [tag("h3", protocol_title(json.loads(setting.protocol))), _table(setting, own)]
    pieces.append(paragraph("All of these as ", link("tables/text.csv", "CSV"), ".", class_="method"))
    return join(pieces)


def _items(rows: Sequence[TextRow]) -> list[Content]:
    items: list[Content] = []
    for row in rows:
        if row.reranking != PLAIN and any(other.reranking == PLAIN for other in rows):
            continue
        for over in dict.fromkeys(gain.over for gain in row.gains):
            gain = row.gain("mAP", over)
            told = gain is not None and gain.difference is not None and gain.difference.n >= MIN_SEEDS
            items.append(tag("span", text_sentence(row, over=over), class_=None if told else "unclaimed"))
    return items


def _table(setting: Setting, rows: Sequence[TextRow]) -> Fragment:
    networks = list(dict.fromkeys(gain.over for row in rows for gain in row.gains))
    columns = [Column("Configuration", text=True), *(Column(name, "%, with text") for name in SCORES.values())]
    columns += [Column(f"Gain in {name}", f"points, {_SHORT[over]}") for over in networks for name in METRICS.values()]
    blocks = [
        Rows(
            reranking[:1].upper() + reranking[1:],
            [_entries(row, networks) for row in rows if row.reranking == reranking],
        )
        for reranking in dict.fromkeys(row.reranking for row in rows)
    ]
    caption = (
        f"Queries with text, {source(json.loads(setting.protocol))}; trained on {setting.accelerator}. Gains are with "
        f"text less infrared alone, paired by seed, with 95 % intervals: over {', over '.join(networks)}; the scores "
        "of infrared alone stand in the image-only tables. Bold: shown after Holm's correction over the rows of a "
        "block. Parameters, MACs and latency elsewhere in this report are those of images alone; a query with text "
        f"also runs the text encoder.{as_sentence(data_note(setting.data))}"
    )
    return table(columns, blocks, caption)


def _entries(row: TextRow, networks: Sequence[str]) -> list[Content]:
    seeds = seeds_phrase(row.seeds) if row.seeds < MIN_SEEDS else f"{row.seeds} seeds"
    name = tag("span", row.label, tag("small", seeds, class_="unclaimed" if row.seeds < MIN_SEEDS else "seeds"))
    entries: list[Content] = [name, *(score_entry(row.scores[metric], None) for metric in SCORES)]
    return entries + [_gain_entry(row.gain(metric, over)) for over in networks for metric in METRICS]


def _gain_entry(gain: Gain | None) -> Content:
    if gain is None or gain.difference is None:
        return _DASH
    change = gain.difference
    text = f"{signed(100 * change.mean)} {interval(change)}".rstrip()
    if change.n < MIN_SEEDS:
        return tag("span", text, class_="unclaimed")
    return tag("strong", text) if gain.shown else text


def text_csv(rows: Sequence[TextRow]) -> str:
    """Scores and gains at full precision, as fractions; every row names text source, captions and data."""
    header = ["configuration", "text", "captions", "reranking", "seeds"]
    for metric in SCORES:
        header += [metric, f"{metric}_sd"]
    header += ["metric", "gain_over", "gain", "low", "high", "p", "p_holm", "protocol", "accelerator", "data"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        card = json.loads(row.setting.protocol)
        scores: list[object] = []
        for metric in SCORES:
            score = row.scores[metric]
            scores += [score.mean, score.sd] if score else [None, None]
        for gain in row.gains:
            change = gain.difference
            told = [change.mean, change.low, change.high, change.p] if change else [None] * 4
            entries = [
                row.label, card.get("text"), card.get("captions"), row.reranking, row.seeds, *scores, gain.metric,
                gain.over, *told, gain.p_holm, protocol_title(card), row.setting.accelerator,
                data_note(row.setting.data) or row.setting.data,
            ]  # fmt: skip
            writer.writerow(["" if entry is None else entry for entry in entries])
    return buffer.getvalue()
