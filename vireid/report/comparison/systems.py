"""The table of systems: accuracy under every image-only protocol, beside what each costs to deploy and to train."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vireid.report.comparison.training import Training, trainings
from vireid.report.html import Column, Content, Fragment, Rows, table, tag
from vireid.report.load import Setting, StudyView, as_sentence, data_note
from vireid.report.protocols import PLAIN, protocol_title
from vireid.report.statistics import MIN_SEEDS, Difference, Summary, difference, paired, seeds_phrase, summary
from vireid.report.tables import COSTS, CostColumn, score_entry
from vireid.report.text import reads_text

METRICS = {"r1": "R1", "mAP": "mAP"}
DEPLOYED = tuple(column for column in COSTS if column.key != "throughput")
_DASH = "–"


@dataclass(frozen=True)
class TrainingColumn:
    """A cost of training, in the printed unit."""

    name: str
    key: str  # name in the CSV
    unit: str
    digits: int
    read: Callable[[Training], float | None]


TRAINING = (
    TrainingColumn("Training", "training_seconds", "s per fit", 0, lambda t: t.seconds.mean if t.seconds else None),
    TrainingColumn("Step", "step_ms", "ms", 0, lambda t: None if t.step is None else 1e3 * t.step),
    TrainingColumn("Memory", "peak_memory_mb", "MB, training", 0, lambda t: t.memory / 1e6 if t.memory else None),
)


@dataclass(frozen=True)
class SystemRow:
    """One system; scores and differences by (setting, metric)."""

    cell: str
    name: str
    seeds: int  # with a score under every protocol of the table
    reference: bool
    stale: bool
    scores: dict[tuple[Setting, str], Summary | None]
    differences: dict[tuple[Setting, str], Difference | None]
    deployed: dict[str, float | None]
    training: Training | None


@dataclass(frozen=True)
class SystemTable:
    """All systems on one kind of data and one accelerator, without re-ranking and without text."""

    settings: tuple[Setting, ...]
    rows: tuple[SystemRow, ...]

    @property
    def accelerator(self) -> str:
        """What the fits were trained on."""
        return self.settings[0].accelerator

    @property
    def note(self) -> str:
        """What captions add: data and their comparability."""
        return data_note(self.settings[0].data)

    @property
    def seeds(self) -> int:
        """Seeds of the row that has most of them."""
        return max((row.seeds for row in self.rows), default=0)

    def short(self, setting: Setting) -> str:
        """What tells a protocol from the table's other ones, such as ``indoor``."""
        parts = {s: protocol_title(json.loads(s.protocol)).split(" · ") for s in self.settings}
        shared = set.intersection(*(set(words) for words in parts.values()))
        return " · ".join([word for word in parts[setting] if word not in shared] or parts[setting][1:2])

    def decimals(self, column: CostColumn) -> int:
        """Decimals of a cost in every row."""
        return column.decimals(row.deployed[column.key] for row in self.rows)


def image_settings(view: StudyView) -> list[Setting]:
    """Settings without text that have scores without re-ranking."""
    plain = [s for s in view.settings if not reads_text(s)]
    return [s for s in plain if (view.scores_in(s).reranking == PLAIN).any()]


def system_tables(view: StudyView) -> list[SystemTable]:
    """One table per kind of data and accelerator; systems in the order of the plan, also those without a score."""
    groups: dict[tuple[str, str], list[Setting]] = {}
    for setting in image_settings(view):
        groups.setdefault((setting.data, setting.accelerator), []).append(setting)
    return [_system_table(view, settings) for settings in groups.values()]


def _system_table(view: StudyView, settings: Sequence[Setting]) -> SystemTable:
    frames = {s: (found := view.scores_in(s))[found.reranking == PLAIN] for s in settings}
    trained = trainings(view, settings[0].accelerator)
    rows = []
    for cell in view.design_cells:
        own = {s: frame[frame.cell == cell.name] for s, frame in frames.items()}
        pair = ((view.baseline.name, cell.name),)
        reference = cell.name == view.baseline.name
        keys = [(s, metric) for s in settings for metric in METRICS]
        rows.append(
            SystemRow(
                cell=cell.name,
                name=cell.label,
                seeds=min(frame.seed.nunique() for frame in own.values()),
                reference=reference,
                stale=any(bool(frame.stale.any()) for frame in own.values()),
                scores={(s, metric): summary([float(v) for v in own[s][metric]]) for s, metric in keys},
                differences={
                    (s, metric): None if reference else difference(paired(frames[s], metric, pair))
                    for s, metric in keys
                },
                deployed={column.key: column.read(view, cell.name) for column in DEPLOYED},
                training=trained.get(cell.name),
            )
        )
    return SystemTable(tuple(settings), tuple(rows))


def to_html(view: StudyView, content: SystemTable, files: Content = "") -> Fragment:
    """The table as the report shows it."""
    columns = [Column("System", text=True)]
    columns += [Column(name, f"%, {content.short(s)}") for s in content.settings for name in METRICS.values()]
    columns += [Column(column.name, column.unit) for column in DEPLOYED]
    columns += [Column(column.name, column.unit) for column in TRAINING]
    rows = [_html_row(view, content, row) for row in content.rows]
    return table(columns, [Rows("", rows)], caption(view, content), files)


def caption(view: StudyView, content: SystemTable) -> str:
    """What the table shows, and under which condition."""
    titles = "; ".join(protocol_title(json.loads(setting.protocol)) for setting in content.settings)
    parts = [f"{view.plan.title}. Accuracy under {titles}, {PLAIN}, images alone; trained on {content.accelerator}."]
    if content.seeds > 1:
        parts.append("Scores are mean ± standard deviation over seeds.")
    parts.append(f"Below: difference from {view.baseline.label}, paired by seed; of costs the ratio.")
    if any(0 < row.seeds < MIN_SEEDS for row in content.rows):
        parts.append(f"Grey: fewer than {MIN_SEEDS} seeds, no effect claimed.")
    if condition := view.main_condition(1):
        parts.append(f"Latency: median (p50) of one image, {condition.setup}.")
    parts.append("Parameters and MACs of the deployed graph for images alone.")
    return " ".join(parts) + as_sentence(content.note)


def _html_row(view: StudyView, content: SystemTable, row: SystemRow) -> list[Content]:
    marks: list[Content] = [tag("strong", row.name) if row.reference else row.name]
    if row.stale:
        marks += [" ", tag("span", "stale", class_="badge", title="a component has changed since this was measured")]
    planned = len(view.plan.seeds)
    if row.seeds == 0:
        marks.append(tag("small", "no score, see above", class_="bad"))
    elif row.seeds < MIN_SEEDS:
        marks.append(tag("small", seeds_phrase(row.seeds), class_="unclaimed"))
    else:
        of = f" of {planned}" if row.seeds < planned else ""
        marks.append(tag("small", f"{row.seeds}{of} seeds", class_="bad" if of else "seeds"))
    reference = next((r for r in content.rows if r.reference), None)
    entries: list[Content] = [tag("span", *marks)]
    entries += [score_entry(row.scores[key], row.differences[key]) for key in row.scores]
    for column in DEPLOYED:
        base = reference.deployed[column.key] if reference else None
        entries.append(_beside(row.deployed[column.key], None if row.reference else base, content.decimals(column)))
    for cost in TRAINING:
        value = None if row.training is None else cost.read(row.training)
        base = cost.read(reference.training) if reference is not None and reference.training is not None else None
        entries.append(_beside(value, None if row.reference else base, cost.digits))
    return entries


def _beside(value: float | None, reference: float | None, digits: int) -> Content:
    """A cost with its ratio to the reference system's in small print."""
    if value is None:
        return _DASH
    ratio = f"×{value / reference:.2f}" if reference else ""
    return tag("span", f"{value:.{digits}f}", tag("small", ratio))


def to_csv(content: SystemTable) -> str:
    """Numbers at full precision, scores as fractions; one row per system and protocol, every row carries the note."""
    names = ["system", "seeds", "protocol", "reranking", "text"]
    for metric in METRICS:
        names += [metric, f"{metric}_sd", f"{metric}_difference", f"{metric}_low", f"{metric}_high"]
    names += [c.key for c in DEPLOYED] + [c.key for c in TRAINING] + ["images", "accelerator", "data"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in content.rows:
        for setting in content.settings:
            entries: list[object] = [row.name, row.seeds, protocol_title(json.loads(setting.protocol)), PLAIN, "none"]
            for metric in METRICS:
                score, change = row.scores[setting, metric], row.differences[setting, metric]
                entries += [score.mean, score.sd] if score else [None, None]
                entries += [change.mean, change.low, change.high] if change else [None, None, None]
            entries += [row.deployed[column.key] for column in DEPLOYED]
            entries += [None if row.training is None else cost.read(row.training) for cost in TRAINING]
            entries += [row.training.images if row.training else None, content.accelerator]
            entries.append(content.note or setting.data)
            writer.writerow(["" if entry is None else entry for entry in entries])
    return buffer.getvalue()
