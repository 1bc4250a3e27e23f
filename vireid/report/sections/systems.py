"""The table of systems: accuracy under every image-only protocol, beside what each costs to deploy and to train."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vireid.core.messages import DASH
from vireid.core.protocol_card import PLAIN
from vireid.report.effects.phrases import SUMMARY, Names, document, effect_entry, grid
from vireid.report.html import Column, Html, absent, join, saved, table, with_ratio
from vireid.report.page import Report
from vireid.report.records.keys import MAIN_SCORES, as_sentence, grouped, seeds_phrase, trained_on
from vireid.report.records.study import StudyView
from vireid.report.sections.differences import system_sentence
from vireid.report.sections.records import anchor
from vireid.report.sections.text import source, text_rows, text_sentence
from vireid.report.sections.training import Training, budget_sentence, trainings
from vireid.report.tables import (
    COSTS,
    CostColumn,
    Row,
    ScoreTable,
    csv_text,
    label_entry,
    score_entry,
    score_marks,
    score_values,
)
from vireid.statistics.seeds import MIN_SEEDS

DEPLOYED = tuple(column for column in COSTS if column.key != "throughput")


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
class System:
    """One system: its plain row under every protocol, and what its training took."""

    rows: tuple[Row, ...]
    training: Training | None

    @property
    def first(self) -> Row:
        """A row of it, for name and costs."""
        return self.rows[0]

    @property
    def seeds(self) -> int:
        """Seeds with a score under every protocol."""
        return min(row.seeds for row in self.rows)

    def trained(self, column: TrainingColumn) -> float | None:
        """A cost of training."""
        return None if self.training is None else column.read(self.training)


@dataclass(frozen=True)
class SystemTable:
    """All systems on one kind of data and one accelerator, without re-ranking and without text."""

    tables: tuple[ScoreTable, ...]  # one per protocol
    systems: tuple[System, ...]

    @property
    def accelerator(self) -> str:
        """What the fits were trained on."""
        return self.tables[0].key.accelerator

    @property
    def note(self) -> str:
        """What captions add: data and their comparability."""
        return self.tables[0].key.note

    @property
    def reference(self) -> System | None:
        """The system that differences are taken from."""
        return next((system for system in self.systems if system.first.baseline), None)

    def short(self, content: ScoreTable) -> str:
        """What distinguishes a protocol from the table's other ones, such as ``indoor``."""
        titles = [table.title.split(" · ") for table in self.tables]
        shared = set.intersection(*map(set, titles))
        title = content.title.split(" · ")
        return " · ".join([part for part in title if part not in shared] or title[1:2])

    def decimals(self, column: CostColumn) -> int:
        """Decimals of a cost in every row."""
        return column.decimals(system.first.costs[column.key] for system in self.systems)


def system_tables(report: Report) -> list[SystemTable]:
    """One table per kind of data and accelerator; systems in the order of the plan, also those without a score."""
    plain = [table for table in report.tables(text=False) if any(row.reranking == PLAIN for row in table.rows)]
    groups = grouped(plain, lambda table: (table.key.data, table.key.accelerator))
    return [_system_table(report.view, tables) for tables in groups.values()]


def _system_table(view: StudyView, tables: list[ScoreTable]) -> SystemTable:
    trained = trainings(view, tables[0].key.accelerator)
    plain = [{row.cell: row for row in content.rows if row.reranking == PLAIN} for content in tables]
    names = [cell.name for cell in view.design_cells]
    systems = (System(tuple(rows[name] for rows in plain), trained.get(name)) for name in names)
    return SystemTable(tuple(tables), tuple(systems))


def render_systems(report: Report) -> Html:
    """The table with its CSV copy; Markdown copy ``summary.md``."""
    contents = system_tables(report)
    summary = report.copy(SUMMARY, to_markdown(report, contents))
    if not contents:
        return absent("No scores yet.")
    pieces = []
    for position, content in enumerate(contents, start=1):
        file = report.copy(f"tables/systems-{position}.csv", to_csv(content))
        pieces.append(to_html(report.view, content, file))
    return join([*pieces, saved("As ", summary, after=" for a README.")])


def to_html(view: StudyView, content: SystemTable, files: str = "") -> Html:
    """The table as the report shows it."""
    columns = [Column("System", text=True)]
    columns += [Column(name, f"%, {content.short(t)}") for t in content.tables for name in MAIN_SCORES.values()]
    columns += [Column(column.name, column.unit) for column in DEPLOYED]
    columns += [Column(column.name, column.unit) for column in TRAINING]
    marks = [score_marks([system.rows[number] for system in content.systems]) for number in range(len(content.tables))]
    rows = [
        _html_row(view, content, system, [of_table[number] for of_table in marks])
        for number, system in enumerate(content.systems)
    ]
    return table(columns, [("", rows)], caption(view, content), files)


def caption(view: StudyView, content: SystemTable) -> str:
    """What the table shows, and under which condition."""
    titles = "; ".join(table.title for table in content.tables)
    sentences = [
        f"{view.plan.title}. Accuracy under {titles}, {PLAIN}, images alone; trained on "
        f"{trained_on(content.accelerator)}."
    ]
    if any(system.seeds > 1 for system in content.systems):
        sentences.append("Scores are mean ± standard deviation over seeds.")
    sentences.append(f"Below: difference from {view.baseline.label}, paired by seed; of costs the ratio.")
    sentences.append("Best bold, second underlined.")
    if any(0 < system.seeds < MIN_SEEDS for system in content.systems):
        sentences.append(f"Grey: fewer than {MIN_SEEDS} seeds, no effect claimed.")
    if view.shared_time:
        sentences.append(view.shared_time.strip())
    if block := view.main_block(1):
        sentences.append(f"Latency: median (p50) of one image, {block.setup}.")
    sentences.append("Parameters and MACs of the deployed graph for images alone.")
    return " ".join(sentences) + as_sentence(content.note)


def _html_row(view: StudyView, content: SystemTable, system: System, marks: Sequence[Mapping[str, str]]) -> list[str]:
    first, planned = system.first, len(view.plan.seeds)
    stale = any(row.stale for row in system.rows)
    reference = None if first.baseline else content.reference
    mark, records = {"reference": first.baseline, "stale": stale}, anchor(view, first.cell)
    entries = [label_entry(first.label, system.seeds, **mark, planned=planned, records=records)]
    entries += [
        score_entry(row.scores[metric], row.deltas[metric], of_row[metric])
        for row, of_row in zip(system.rows, marks, strict=True)
        for metric in MAIN_SCORES
    ]
    for column in DEPLOYED:
        base = reference.first.costs[column.key] if reference else None
        entries.append(with_ratio(first.costs[column.key], base, content.decimals(column)))
    for cost in TRAINING:
        entries.append(with_ratio(system.trained(cost), reference.trained(cost) if reference else None, cost.digits))
    return entries


def to_csv(content: SystemTable) -> str:
    """Numbers at full precision, scores as fractions; one row per system and protocol, every row carries the note."""
    rows = []
    for system in content.systems:
        for protocol, row in zip(content.tables, system.rows, strict=True):
            entries: dict[str, object] = {"system": row.label, "seeds": system.seeds, "protocol": protocol.title}
            entries |= {"reranking": PLAIN, "text": "none"}
            for metric in MAIN_SCORES:
                entries |= score_values(metric, row.scores[metric], row.deltas[metric])
            entries |= {column.key: row.costs[column.key] for column in DEPLOYED}
            entries |= {cost.key: system.trained(cost) for cost in TRAINING}
            entries |= {"images": system.training and system.training.images, "accelerator": content.accelerator}
            rows.append({**entries, "data": content.note or protocol.key.data})
    return csv_text(rows)


def to_markdown(report: Report, contents: list[SystemTable]) -> str:
    """The first protocol with differences from the reference, and text in a list of its own."""
    view, text = report.view, text_rows(report.view)
    body = [*_accuracy(report, contents[0])] if contents else ["No system has a score yet."]
    if text:
        sources = dict.fromkeys(source(row.key.card) for row in text)
        body.append(f"With text ({'; '.join(sources)}), never in one column with images alone:")
        body.append("\n".join(f"- {text_sentence(row)}" for row in text if row.reranking == PLAIN))
    return document(view, f"{len(view.design_cells)} systems × {len(view.plan.seeds)} seeds", body)


def _accuracy(report: Report, content: SystemTable) -> Iterator[str]:
    view, key = report.view, content.tables[0].key
    family = next((f for f in report.families("mAP") if (f.key, f.reranking) == (key, PLAIN)), None)
    names, reference = Names(view), view.baseline.label
    effects = {} if family is None else {names.effect(effect): effect for effect in family.effects}
    yield f"{key.title}, {PLAIN}, images alone, trained on {trained_on(content.accelerator)}:"
    heads = ["System", *MAIN_SCORES.values(), f"mAP − {reference}"]
    rows = []
    for system in content.systems:
        change = DASH if system.first.baseline else effect_entry(effects.get(system.first.label), DASH)
        rows.append([_markdown_name(system), *_markdown_scores(system), change, *_markdown_costs(content, system)])
    yield grid([*heads, "Params, M", "MACs, G", "Latency, ms", "Training, s"], rows)
    sentences = [
        f"R1 and mAP in %, mean ± standard deviation over seeds; difference from {reference} in points of mAP, paired "
        "by seed, with its 95 % interval."
    ]
    if family is None:
        sentences.append(f"No system has a score beside {reference}, so nothing is compared.")
    elif family.tested:
        sentences.append(f"**Bold**: shown after Holm's correction over {family.tested} systems.")
    else:
        sentences.append(f"Fewer than {MIN_SEEDS} seeds: no interval is given and no effect is claimed.")
    sentences.append("Parameters, MACs and latency of the deployed graph.")
    if view.shared_time:
        sentences.append(view.shared_time.strip())
    if block := view.main_block(1):
        sentences.append(f"Latency: median of one image, {block.setup}.")
    sentences.append(budget_sentence(trainings(view, content.accelerator)))
    yield " ".join(filter(None, sentences))
    yield "\n".join(f"- {system_sentence(effect, names, reference)}" for effect in effects.values())


def _markdown_name(system: System) -> str:
    if system.seeds == 0:
        return f"{system.first.label} (no score)"
    return f"{system.first.label} ({seeds_phrase(system.seeds)})" if system.seeds < MIN_SEEDS else system.first.label


def _markdown_scores(system: System) -> Iterator[str]:
    for metric in MAIN_SCORES:
        score = system.first.scores[metric]
        spread = "" if score is None or score.sd is None else f" ±{100 * score.sd:.1f}"
        yield DASH if score is None else f"{100 * score.mean:.1f}{spread}"


def _markdown_costs(content: SystemTable, system: System) -> list[str]:
    columns = [column for column in COSTS if column.key in ("params", "macs", "latency")]
    costs = [(system.first.costs[column.key], content.decimals(column)) for column in columns]
    costs.append((system.trained(TRAINING[0]), 0))
    return [DASH if value is None else f"{value:.{digits}f}" for value, digits in costs]
