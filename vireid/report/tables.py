"""Accuracy and cost of every cell: one table per protocol, plain and re-ranked rows apart; what all tables share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vireid.core.messages import DASH
from vireid.core.records import CostRecord
from vireid.report.html import tag
from vireid.report.latex import standings
from vireid.report.records.keys import SCORES, AccuracyKey, capitalised, seeds_phrase, signed
from vireid.report.records.study import StudyView
from vireid.statistics.seeds import MIN_SEEDS, Difference, Summary, difference, paired, summary


@dataclass(frozen=True)
class CostColumn:
    """A cost of the deployed graph; ``read`` gives it in the printed unit, None where it was not measured."""

    key: str
    name: str
    unit: str
    digits: int
    read: Callable[[StudyView, str], float | None]
    short: str  # unit in a paper's heading
    small: float = 0.0  # a table with any value below this prints one decimal more, in every row

    @property
    def in_text(self) -> str:
        """Name inside a sentence."""
        return self.name if self.key == "macs" else self.name.lower()

    def decimals(self, values: Iterable[float | None]) -> int:
        """Decimals of all of a table's values of this cost."""
        return self.digits + any(value is not None and 0 < value < self.small for value in values)


def _cost(read: Callable[[CostRecord], float | None]) -> Callable[[StudyView, str], float | None]:
    return lambda view, cell: read(view.costs[cell]) if cell in view.costs else None


def _millions(key: str) -> Callable[[StudyView, str], float | None]:
    return _cost(lambda cost: cost.parameters[key] / 1e6 if key in cost.parameters else None)


def _median_seconds(view: StudyView, cell: str, batch: int) -> float | None:
    """Of one forward pass, in the block that tables print."""
    block = view.main_block(batch)
    timing = block.timings.get(cell) if block else None
    return None if timing is None else timing.median


def latency_ms(view: StudyView, cell: str) -> float | None:
    """Median milliseconds of one forward pass at batch 1."""
    seconds = _median_seconds(view, cell, 1)
    return seconds and 1e3 * seconds


def throughput(view: StudyView, cell: str) -> float | None:
    """Images per second at batch 32 (median forward pass)."""
    seconds = _median_seconds(view, cell, 32)
    return seconds and 32 / seconds


COSTS = (
    CostColumn("params", "Params", "M, deployed", 2, _millions("deployed"), "M"),
    CostColumn("params_training", "Params", "M, training", 2, _millions("training_only"), "M, training"),
    CostColumn("macs", "MACs", "G per image", 3, _cost(lambda c: None if c.macs is None else c.macs / 1e9), "G", 0.1),
    CostColumn("latency", "Latency", "ms, batch 1", 2, latency_ms, "ms"),
    CostColumn("throughput", "Throughput", "img/s, batch 32", 0, throughput, "img/s"),
)

ALL_COLUMNS = (*SCORES, *(column.key for column in COSTS))
"""What a paper's table of cells can have beside their names."""
SYSTEM_COLUMNS = ("r1", "mAP", "macs", "latency")


@dataclass(frozen=True)
class Row:
    """One cell under one protocol and re-ranking."""

    cell: str
    label: str
    reranking: str
    seeds: int  # 0 where the cell has no score here
    baseline: bool
    control: bool
    stale: bool
    scores: Mapping[str, Summary | None]
    deltas: Mapping[str, Difference | None]
    costs: Mapping[str, float | None]


@dataclass(frozen=True)
class ScoreTable:
    """All rows of one protocol, data and accelerator."""

    key: AccuracyKey
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The protocol."""
        return self.key.title

    @property
    def reference(self) -> Row | None:
        """The baseline's first row."""
        return next((row for row in self.rows if row.baseline), None)

    def decimals(self, column: CostColumn) -> int:
        """Decimals of a cost in every row of this table."""
        return column.decimals(row.costs[column.key] for row in self.rows)

    def blocks(self) -> Iterator[tuple[str, list[Row]]]:
        """Blocks with their headings: plain scores, re-ranked ones, and each one's controls apart from the design."""
        for reranking in dict.fromkeys(row.reranking for row in self.rows):
            group = [row for row in self.rows if row.reranking == reranking]
            yield capitalised(reranking), [row for row in group if not row.control]
            if controls := [row for row in group if row.control]:
                yield f"Controls, {reranking}", controls


def score_tables(view: StudyView) -> list[ScoreTable]:
    """One table per protocol."""
    return [score_table(view, key) for key in view.keys]


def score_table(view: StudyView, key: AccuracyKey) -> ScoreTable:
    """Rows of a protocol, block by block of re-ranking, cells in the order of the plan."""
    costs = {name: {column.key: column.read(view, name) for column in COSTS} for name in view.cells}
    rows: list[Row] = []
    for reranking, block in view.scores_in(key).groupby("reranking", sort=False):
        for name, cell in view.cells.items():
            of_cell = block[block.cell == name]
            compared = cell != view.baseline and cell.control is None
            pair = ((view.baseline.name, name),)
            rows.append(
                Row(
                    cell=name,
                    label=cell.label,
                    reranking=str(reranking),
                    seeds=of_cell.seed.nunique(),
                    baseline=cell == view.baseline,
                    control=cell.control is not None,
                    stale=bool(of_cell.stale.any()),
                    scores={metric: summary([float(v) for v in of_cell[metric]]) for metric in SCORES},
                    deltas={m: difference(paired(block, m, pair)) if compared else None for m in SCORES},
                    costs=costs[name],
                )
            )
    return ScoreTable(key, tuple(rows))


def score_entry(value: Summary | None, delta: Difference | None = None, mark: str = "") -> str:
    """A score with its spread, and its difference from the reference below; ``mark`` the best or second of a column."""
    if value is None:
        return DASH
    spread = tag("span", f" ±{100 * value.sd:.1f}", class_="sd") if value.sd is not None else ""
    change = tag("small", "")
    if delta is not None:
        change = tag("small", signed(100 * delta.mean), class_="unclaimed" if delta.n < MIN_SEEDS else "delta")
    return tag("span", tag("span", f"{100 * value.mean:.1f}", class_=mark or None), spread, change)


def label_entry(
    label: str, seeds: int, *, reference: bool, stale: bool, planned: int = 0, claims: bool = True, records: str = ""
) -> str:
    """A cell's name with a mark where it is stale, and how many seeds stand behind it.

    Args:
        label: the cell's name.
        seeds: number of seeds with a score.
        reference: whether differences are taken from it.
        stale: whether a component has changed since.
        planned: number of seeds to mark a cell for that has fewer.
        claims: whether a row of few seeds must say that it claims nothing.
        records: name of the place on the page that lists its records.
    """
    name = tag("strong", label) if reference else label
    marks = [tag("a", name, href=f"#{records}", class_="cell", title="its records") if records else name]
    if stale:
        marks += [" ", tag("span", "stale", class_="badge", title="a component has changed since this was measured")]
    if seeds == 0:
        marks.append(tag("small", "no score, see above", class_="bad"))
    elif seeds < MIN_SEEDS and claims:
        marks.append(tag("small", seeds_phrase(seeds), class_="unclaimed"))
    else:
        of = f" of {planned}" if seeds < planned else ""
        marks.append(tag("small", f"{seeds}{of} seed{'s' if seeds != 1 else ''}", class_="bad" if of else "seeds"))
    return tag("span", *marks)


def score_marks(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Of rows that may be compared, which scores are the best and the second of their column."""
    columns = {
        metric: standings([None if (score := row.scores[metric]) is None else 100 * score.mean for row in rows])
        for metric in SCORES
    }
    return [{metric: marks[number] for metric, marks in columns.items()} for number in range(len(rows))]


def score_values(metric: str, score: Summary | None, change: Difference | None) -> dict[str, object]:
    """A score and its difference from the reference as columns of a CSV, fractions at full precision."""
    return {
        metric: score and score.mean,
        f"{metric}_sd": score and score.sd,
        f"{metric}_difference": change and change.mean,
        f"{metric}_low": change and change.low,
        f"{metric}_high": change and change.high,
    }


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with equal keys as CSV at full precision; None is left empty."""
    return frame_csv(pd.DataFrame(rows, dtype=object))


def frame_csv(frame: pd.DataFrame) -> str:
    """A table as CSV at full precision, without its index."""
    return str(frame.to_csv(index=False, lineterminator="\n"))
