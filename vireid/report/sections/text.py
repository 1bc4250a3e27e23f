"""What text adds to infrared queries: scores with text in tables of their own, and their gain over infrared alone.

Infrared alone is the same network evaluated without text and, in a study that switches text on, also the baseline, a
network that was trained on images alone. A score with text never stands in a column with one without.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN, ProtocolCard
from vireid.report.html import Column, Html, absent, bullets, join, saved, table, tag
from vireid.report.page import Report
from vireid.report.records.keys import (
    MAIN_SCORES,
    SCORES,
    AccuracyKey,
    as_sentence,
    capitalised,
    interval,
    points,
    seeds_phrase,
)
from vireid.report.records.study import StudyView, cells_are_levels
from vireid.report.tables import csv_text, score_entry
from vireid.statistics.bootstrap import LEVEL
from vireid.statistics.seeds import MIN_SEEDS, Difference, Summary, difference, holm, paired, summary

SAME, TRAINED_ALONE = "the same network without text", "a network trained on images alone"
_SHORT = {SAME: "over the same network", TRAINED_ALONE: "over images alone"}
_SOURCES = {
    "query": "the query's own caption",
    "oracle": "a caption of a visible image of the query's true identity, which no search knows",
}
_CAPTIONS = {
    "Witness_IR": "in the words of somebody who saw the person by daylight, colours included",
    "Blip_IR": "as a captioner describes the infrared image, which shows no colour",
}


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

    key: AccuracyKey
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


def source(card: ProtocolCard) -> str:
    """Whose words queries have, such as ``text=query, captions Witness_IR: the query's own caption``."""
    captions = f", captions {card.captions}" if card.captions else ""
    meaning = ", ".join(filter(None, [_SOURCES.get(str(card.text)), _CAPTIONS.get(str(card.captions))]))
    return f"text={card.text}{captions}" + (f": {meaning}" if meaning else "")


def text_rows(view: StudyView) -> list[TextRow]:
    """Every cell evaluated with text, source by source; corrected over the cells of a source and re-ranking."""
    corrected: list[TextRow] = []
    for key in view.keys:
        if not key.card.reads_text:
            continue
        silent = {**key.card.without("captions").entries, "text": "none"}
        alone = view.scores_in(replace(key, card=ProtocolCard.model_validate(silent)))
        for reranking, block in view.scores_in(key).groupby("reranking", sort=False):
            plain = alone[alone.reranking == reranking]
            cells = [cell.name for cell in view.design_cells if cell.name in set(block.cell)]
            rows = [_row(view, key, str(reranking), name, block[block.cell == name], plain) for name in cells]
            corrected += _corrected(rows)
    return corrected


def _row(
    view: StudyView, key: AccuracyKey, reranking: str, cell: str, with_text: pd.DataFrame, plain: pd.DataFrame
) -> TextRow:
    networks = {SAME: plain[plain.cell == cell]}
    if view.baseline.name != cell and not cells_are_levels(view.plan):  # another system is no infrared alone
        networks[TRAINED_ALONE] = plain[plain.cell == view.baseline.name]
    return TextRow(
        key=key,
        reranking=reranking,
        cell=cell,
        label=view.cells[cell].label,
        scores={metric: summary([float(v) for v in with_text[metric]]) for metric in SCORES},
        gains=tuple(
            Gain(metric, over, _gain(with_text, without, metric))
            for over, without in networks.items()
            for metric in MAIN_SCORES
        ),
    )


def _gain(with_text: pd.DataFrame, without: pd.DataFrame, metric: str) -> Difference | None:
    both = pd.concat([without.assign(cell="without"), with_text.assign(cell="with")])
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


def text_sentence(row: TextRow, metric: str = "mAP", over: str = SAME) -> str:
    """``"agw: infrared + caption beats infrared alone by 3.1 mAP [1.2, 5.0] (text=query, …; the same network …)"``."""
    card = row.key.card
    captions = f", {card.captions}" if card.captions else ""
    compared = f"(text={card.text}{captions}; {over})"
    gain = row.gain(metric, over)
    change = gain.difference if gain is not None else None
    if gain is None or change is None:
        return f"{row.label}: no score of infrared alone to compare infrared + caption with {compared}"
    size = points(change, MAIN_SCORES[metric])
    if change.n < MIN_SEEDS:
        few = seeds_phrase(change.n)
        return f"{row.label}: infrared + caption against infrared alone: {few} ({size}) {compared}"
    if not gain.shown:
        return f"{row.label}: no difference between infrared + caption and infrared alone shown, {size} {compared}"
    verb = "beats infrared alone by" if change.mean > 0 else "falls behind infrared alone by"
    size = f"{abs(100 * change.mean):.1f} points of {MAIN_SCORES[metric]} {interval(change)}"
    return f"{row.label}: infrared + caption {verb} {size} {compared}"


def render_text(report: Report, *, optional: bool = False) -> Html:
    """Sentences and one table per protocol with text, with a CSV copy; where no query had text it says so.

    An ``optional`` section brings its heading, and is empty without text.
    """
    rows = text_rows(report.view)
    if optional:
        any_text = any(key.card.reads_text for key in report.view.keys)
        return join([tag("h2", "Text", id="text"), render_text(report)]) if any_text else Html()
    if not rows:
        return absent("No query had text.")
    pieces = [bullets(_items(rows))]
    for key in dict.fromkeys(row.key for row in rows):
        pieces += [tag("h3", key.title), _table(key, [row for row in rows if row.key == key])]
    copy = report.copy("tables/text.csv", to_csv(rows))
    return join([*pieces, saved("All of these as ", copy)])


def _items(rows: Sequence[TextRow]) -> list[str]:
    items: list[str] = []
    for row in rows:
        if row.reranking != PLAIN and any(other.reranking == PLAIN for other in rows):
            continue
        for over in dict.fromkeys(gain.over for gain in row.gains):
            gain = row.gain("mAP", over)
            claims = gain is not None and gain.difference is not None and gain.difference.n >= MIN_SEEDS
            items.append(tag("span", text_sentence(row, over=over), class_=None if claims else "unclaimed"))
    return items


def _table(key: AccuracyKey, rows: Sequence[TextRow]) -> Html:
    networks = list(dict.fromkeys(gain.over for row in rows for gain in row.gains))
    columns = [Column("Configuration", text=True), *(Column(name, "%, with text") for name in SCORES.values())]
    columns += [
        Column(f"Gain in {name}", f"points, {_SHORT[over]}") for over in networks for name in MAIN_SCORES.values()
    ]
    blocks = [
        (capitalised(reranking), [_entries(row, networks) for row in rows if row.reranking == reranking])
        for reranking in dict.fromkeys(row.reranking for row in rows)
    ]
    caption = (
        f"Queries with text, {source(key.card)}; trained on {key.trained_on}. Gains are with "
        f"text less infrared alone, paired by seed, with 95 % intervals: over {', over '.join(networks)}; the scores "
        "of infrared alone stand in the image-only tables. Bold: shown after Holm's correction over the rows of a "
        "block. Parameters, MACs and latency elsewhere in this report are those of images alone; a query with text "
        f"also runs the text encoder.{as_sentence(key.note)}"
    )
    return table(columns, blocks, caption)


def _entries(row: TextRow, networks: Sequence[str]) -> list[str]:
    seeds = seeds_phrase(row.seeds) if row.seeds < MIN_SEEDS else f"{row.seeds} seeds"
    shade = "unclaimed" if row.seeds < MIN_SEEDS else "seeds"
    name = tag("span", row.label, tag("small", seeds, class_=shade))
    scores = [score_entry(row.scores[metric]) for metric in SCORES]
    return [name, *scores, *(_gain_entry(row.gain(metric, over)) for over in networks for metric in MAIN_SCORES)]


def _gain_entry(gain: Gain | None) -> str:
    if gain is None or gain.difference is None:
        return DASH
    text = points(gain.difference)
    if gain.difference.n < MIN_SEEDS:
        return tag("span", text, class_="unclaimed")
    return tag("strong", text) if gain.shown else text


def to_csv(rows: Sequence[TextRow]) -> str:
    """Scores and gains at full precision, as fractions; every row names text source, captions and data."""
    entries = []
    for row in rows:
        card, key = row.key.card, row.key
        entry: dict[str, object] = {"configuration": row.label, "text": card.text, "captions": card.captions}
        entry |= {"reranking": row.reranking, "seeds": row.seeds}
        for metric, score in row.scores.items():
            entry |= {metric: score and score.mean, f"{metric}_sd": score and score.sd}
        for gain in row.gains:
            change = gain.difference
            values = {"metric": gain.metric, "gain_over": gain.over, "gain": change and change.mean}
            values |= {"low": change and change.low, "high": change and change.high, "p": change and change.p}
            values |= {"p_holm": gain.p_holm, "protocol": key.title, "accelerator": key.accelerator}
            entries.append({**entry, **values, "data": key.note or key.data})
    return csv_text(entries)
