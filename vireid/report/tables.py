"""The ablation table: one per setting, plain and re-ranked rows apart, with HTML, CSV and LaTeX copies."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vireid.core.records import CostRecord
from vireid.report.html import Column, Content, Fragment, Rows, table, tag
from vireid.report.load import Setting, StudyView, as_sentence, data_note
from vireid.report.protocols import protocol_title
from vireid.report.statistics import MIN_SEEDS, Difference, Summary, difference, paired, seeds_phrase, signed, summary

SCORES = {"r1": "R1", "r10": "R10", "r20": "R20", "mAP": "mAP", "mINP": "mINP"}
_DASH = "–"


@dataclass(frozen=True)
class CostColumn:
    """A cost of the deployed graph; ``read`` gives it in the printed unit, None where it was not measured."""

    key: str
    name: str
    unit: str
    digits: int
    read: Callable[[StudyView, str], float | None]
    small: float = 0.0  # a table with any value below this prints one decimal more, in every row

    @property
    def in_text(self) -> str:
        """Name inside a sentence."""
        return self.name if self.key == "macs" else self.name.lower()

    def decimals(self, values: Iterable[float | None]) -> int:
        """Decimals of all of a table's values of this cost."""
        return self.digits + any(value is not None and 0 < value < self.small for value in values)


@dataclass(frozen=True)
class Row:
    """One cell in one setting and re-ranking."""

    cell: str
    label: str
    reranking: str
    seeds: int  # 0 where the cell has no score here
    baseline: bool
    control: bool
    stale: bool
    scores: dict[str, Summary | None]
    deltas: dict[str, Difference | None]
    costs: dict[str, float | None]


@dataclass(frozen=True)
class AblationTable:
    """All rows of one setting."""

    setting: Setting
    title: str
    note: str  # what captions add: data and their comparability
    rows: tuple[Row, ...]
    reference: Row | None

    def decimals(self, column: CostColumn) -> int:
        """Decimals of a cost in every row of this table."""
        return column.decimals(row.costs[column.key] for row in self.rows)

    def blocks(self) -> Iterator[tuple[str, list[Row]]]:
        """Blocks with their headings: plain scores, re-ranked ones, and each one's controls apart from the design."""
        for reranking in dict.fromkeys(row.reranking for row in self.rows):
            own = [row for row in self.rows if row.reranking == reranking]
            yield reranking[0].upper() + reranking[1:], [row for row in own if not row.control]
            if controls := [row for row in own if row.control]:
                yield f"Controls, {reranking}", controls


def _cost(read: Callable[[CostRecord], float | None]) -> Callable[[StudyView, str], float | None]:
    def value(view: StudyView, cell: str) -> float | None:
        cost = view.costs.get(cell)
        return None if cost is None else read(cost)

    return value


def _millions(key: str) -> Callable[[CostRecord], float | None]:
    return lambda cost: cost.parameters[key] / 1e6 if key in cost.parameters else None


def _median_seconds(view: StudyView, cell: str, batch: int) -> float | None:
    condition = view.main_condition(batch)
    samples = view.latency[condition].get(cell) if condition else None
    return statistics.median(samples) if samples else None


def latency_ms(view: StudyView, cell: str) -> float | None:
    """Median milliseconds of one forward pass at batch 1, in the condition that tables print."""
    seconds = _median_seconds(view, cell, 1)
    return None if seconds is None else 1e3 * seconds


def throughput(view: StudyView, cell: str) -> float | None:
    """Images per second at batch 32 (median forward pass)."""
    seconds = _median_seconds(view, cell, 32)
    return None if seconds is None else 32 / seconds


COSTS = (
    CostColumn("params", "Params", "M, deployed", 2, _cost(_millions("deployed"))),
    CostColumn("params_training", "Params", "M, training", 2, _cost(_millions("training_only"))),
    CostColumn("macs", "MACs", "G per image", 3, _cost(lambda c: None if c.macs is None else c.macs / 1e9), small=0.1),
    CostColumn("latency", "Latency", "ms, batch 1", 2, latency_ms),
    CostColumn("throughput", "Throughput", "img/s, batch 32", 0, throughput),
)


def ablation_table(view: StudyView, setting: Setting) -> AblationTable:
    """Rows of a setting, block by block of re-ranking, cells in the order of the plan."""
    scores = view.scores_in(setting)
    rows: list[Row] = []
    for reranking, block in scores.groupby("reranking", sort=False):
        for name, cell in view.cells.items():
            own = block[block.cell == name]
            pair = ((view.baseline.name, name),)
            rows.append(
                Row(
                    cell=name,
                    label=cell.label,
                    reranking=str(reranking),
                    seeds=own.seed.nunique(),
                    baseline=cell == view.baseline,
                    control=cell.control is not None,
                    stale=bool(own.stale.any()),
                    scores={metric: summary([float(v) for v in own[metric]]) for metric in SCORES},
                    deltas={
                        metric: None
                        if cell == view.baseline or cell.control is not None
                        else difference(paired(block, metric, pair))
                        for metric in SCORES
                    },
                    costs={column.key: column.read(view, name) for column in COSTS},
                )
            )
    return AblationTable(
        setting=setting,
        title=protocol_title(json.loads(setting.protocol)),
        note=data_note(setting.data),
        rows=tuple(rows),
        reference=next((row for row in rows if row.baseline), None),
    )


def to_html(view: StudyView, content: AblationTable, files: Content = "") -> Fragment:
    """The table as the report shows it."""
    columns = [Column("Configuration", text=True)]
    columns += [Column(name, "%") for name in SCORES.values()]
    columns += [Column(column.name, column.unit) for column in COSTS]
    blocks = [Rows(heading, [_html_row(content, row) for row in rows]) for heading, rows in content.blocks()]
    words = caption(view, content, "Below each value its difference (of costs the ratio)")
    return table(columns, blocks, words, files)


def caption(view: StudyView, content: AblationTable, differences: str) -> str:
    """What the table shows, how it prints ``differences``, under which condition, and what it may be compared with."""
    condition = view.main_condition(1) or view.main_condition(32)
    parts = [f"{view.plan.title} – {content.title}, trained on {content.setting.accelerator}."]
    if any(row.seeds > 1 for row in content.rows):
        parts.append("Scores are mean ± standard deviation over seeds.")
    parts.append(f"{differences} from {view.baseline.label}, paired by seed.")
    if any(row.control for row in content.rows):
        parts.append("Controls check the study itself and stand outside its design.")
    if any(0 < row.seeds < MIN_SEEDS for row in content.rows):
        parts.append(f"Grey differences: fewer than {MIN_SEEDS} seeds, no effect claimed.")
    if condition:
        parts.append(f"Latency is a median: {condition.setup}.")
    return " ".join(parts) + as_sentence(content.note)


def _html_row(content: AblationTable, row: Row) -> list[Content]:
    marks: list[Content] = [tag("strong", row.label) if row.baseline else row.label]
    if row.stale:
        marks += [" ", tag("span", "stale", class_="badge", title="a component has changed since this was measured")]
    if row.seeds == 0:
        marks.append(tag("small", "no score, see above", class_="bad"))
    elif row.seeds < MIN_SEEDS and not row.baseline and not row.control:
        marks.append(tag("small", seeds_phrase(row.seeds), class_="unclaimed"))
    else:
        marks.append(tag("small", f"{row.seeds} seed{'s' if row.seeds != 1 else ''}", class_="seeds"))
    entries: list[Content] = [tag("span", *marks)]
    for metric in SCORES:
        entries.append(score_entry(row.scores[metric], row.deltas[metric]))
    for column in COSTS:
        value = row.costs[column.key]
        reference = content.reference.costs[column.key] if content.reference else None
        if value is None:
            entries.append(_DASH)
            continue
        ratio = f"×{value / reference:.2f}" if reference and not row.baseline else ""
        entries.append(tag("span", f"{value:.{content.decimals(column)}f}", tag("small", ratio)))
    return entries


def score_entry(value: Summary | None, delta: Difference | None) -> Content:
    """A score with its spread, and its difference from the reference in small print below."""
    if value is None:
        return _DASH
    spread = tag("span", f" ±{100 * value.sd:.1f}", class_="sd") if value.sd is not None else ""
    change: Content = tag("small", "")
    if delta is not None:
        change = tag("small", signed(100 * delta.mean), class_="unclaimed" if delta.n < MIN_SEEDS else "delta")
    return tag("span", f"{100 * value.mean:.1f}", spread, change)


def to_csv(content: AblationTable) -> str:
    """Numbers at full precision, scores as fractions, one row per cell and re-ranking; every row carries the note."""
    names = ["configuration", "baseline", "control", "reranking", "seeds"]
    for metric in SCORES:
        names += [metric, f"{metric}_sd", f"{metric}_difference", f"{metric}_low", f"{metric}_high"]
    names += [column.key for column in COSTS] + ["stale", "protocol", "accelerator", "data"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in content.rows:
        entries: list[object] = [row.label, row.baseline, row.control, row.reranking, row.seeds]
        for metric in SCORES:
            score, delta = row.scores[metric], row.deltas[metric]
            entries += [score.mean, score.sd] if score else [None, None]
            entries += [delta.mean, delta.low, delta.high] if delta else [None, None, None]
        entries += [row.costs[column.key] for column in COSTS]
        entries += [row.stale, content.title, content.setting.accelerator, content.note or content.setting.data]
        writer.writerow(["" if entry is None else entry for entry in entries])
    return buffer.getvalue()
