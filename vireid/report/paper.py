"""What a study shows in a paper: its cells and its effects as LaTeX tables, each with the end of its file's name."""

from collections.abc import Callable, Iterator, Sequence

from vireid.core.plan import Cell
from vireid.core.protocol_card import PLAIN
from vireid.report.effects.estimate import Family, baseline_level
from vireid.report.effects.phrases import Names, sentence
from vireid.report.latex import PaperColumn, PaperTable, escape
from vireid.report.records.keys import MAIN_SCORES, SCORES, AccuracyKey, as_sentence, capitalised, p_text
from vireid.report.records.study import StudyView, cells_are_levels
from vireid.report.tables import COSTS, Row, ScoreTable
from vireid.statistics.seeds import MIN_SEEDS, Summary

Named = tuple[str, PaperTable]
WIDE = ("r1", "r10", "r20", "mAP", "mINP", "params", "macs", "latency")  # columns across a page


def cell_tables(view: StudyView, content: ScoreTable, columns: Sequence[str]) -> Iterator[Named]:
    """The design's cells: chosen columns, then all of them across the page; re-ranked scores apart, no controls."""
    blocks = dict.fromkeys(row.reranking for row in content.rows if not row.control)
    reranked = 0
    for reranking in blocks:
        rows = [row for row in content.rows if row.reranking == reranking and not row.control]
        if not any(row.seeds for row in rows):
            continue
        reranked += reranking != PLAIN
        end = "" if reranking == PLAIN else "-reranked" + (f"-{reranked}" if reranked > 1 else "")
        leading = leading_columns(view)
        for suffix, names, wide in ((end, columns, False), (f"{end}-wide", WIDE, True)):
            chosen = [name for name in names if any(_value(row, name) is not None for row in rows)]
            table = PaperTable(
                caption=paper_caption(view, content.key, reranking, rows, chosen),
                columns=(*(column for column, _ in leading), *(_paper_column(content, name) for name in chosen)),
                rows=tuple(
                    (*(read(view.cells[row.cell]) for _, read in leading), *(_value(row, name) for name in chosen))
                    for row in rows
                ),
                wide=wide,
            )
            yield suffix, table


def leading_columns(view: StudyView) -> list[tuple[PaperColumn, Callable[[Cell], str | bool]]]:
    """What tells cells apart: a tick for every toggle where factors are on or off, else their names."""
    names = Names(view)
    if any(len(levels) != 2 for levels in view.plan.factors.values()) or cells_are_levels(view.plan):
        head = names.factor(next(iter(view.plan.factors))) if cells_are_levels(view.plan) else "configuration"
        return [(PaperColumn(capitalised(head)), lambda cell: names.display(cell.label))]

    def ticked(factor: str) -> Callable[[Cell], bool]:
        return lambda cell: cell.factors.get(factor) != baseline_level(view, factor)

    return [(PaperColumn(names.display(f), "check"), ticked(f)) for f in view.plan.factors]


def _value(row: Row, name: str) -> Summary | float | None:
    return row.scores[name] if name in SCORES else row.costs[name]


def _paper_column(content: ScoreTable, name: str) -> PaperColumn:
    if name in SCORES:
        return PaperColumn(SCORES[name], "score")
    column = next(column for column in COSTS if column.key == name)
    return PaperColumn(f"{column.name} ({column.short})", "number", content.decimals(column))


def paper_caption(
    view: StudyView, key: AccuracyKey, reranking: str, rows: Sequence[Row], columns: Sequence[str]
) -> str:
    """What all rows of a paper's table share, said once."""
    seeds = {row.seeds for row in rows if row.seeds}
    counts = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    plural = "s" if max(seeds) > 1 else ""
    spread = "mean ± standard deviation over" if max(seeds) > 1 else "of"
    sentences = [
        f"{view.plan.title}.",
        f"Protocol {key.setting(reranking)}; scores in %, {spread} {counts} seed{plural}.",
    ]
    if len(rows) > 2:
        sentences.append("Best bold, second underlined.")
    block = view.main_block(1)
    if block and "latency" in columns:
        sentences.append(f"Latency: median of one image, {block.setup}.")
    return " ".join(sentences) + as_sentence(key.note)


def numbers(view: StudyView, tables: Sequence[ScoreTable], families: Sequence[Family]) -> str:
    r"""Numbers for a paper's text: ``\vireid{study/cell/mAP}`` prints one, and an unknown one stops the paper.

    ``study/seeds``, ``cells`` and ``fits`` count what is finished. Of cells: scores in percent without re-ranking under
    the first protocol (``/sd`` for their spread over seeds), and costs (``study/cell/macs``) in the units of tables. Of
    effects or differences under it: ``study/effect/name/mAP`` in percentage points, ``/low`` and ``/high`` for the
    interval, ``/p`` after correction, and ``/sentence`` for all of that in words with its verdict.
    """
    lines = [
        r"\providecommand{\vireidset}[2]{\expandafter\def\csname vireid:#1\endcsname{#2}}",
        r"\providecommand{\vireid}[1]{\ifcsname vireid:#1\endcsname\csname vireid:#1\endcsname",
        r"  \else\PackageError{vireid}{no number '#1'}{See numbers.tex for those that there are.}\fi}",
    ]

    def put(name: str, text: str) -> None:
        lines.append(rf"\vireidset{{{view.plan.name}/{name}}}{{{text}}}")

    def put_score(name: str, value: float, form: str = ".1f") -> None:
        put(name, f"{100 * value:{form}}".replace("-", r"\ensuremath{-}"))

    put("seeds", str(len({run.seed for run in view.trained})))
    put("cells", str(len(view.design_cells)))
    put("fits", str(view.finished))
    for row in tables[0].rows if tables else ():
        if row.reranking != PLAIN:
            continue
        for metric in SCORES:
            if score := row.scores[metric]:
                put_score(f"{row.cell}/{metric}", score.mean)
                if score.sd is not None:
                    put_score(f"{row.cell}/{metric}/sd", score.sd)
        for column in COSTS:
            cost = row.costs[column.key]
            if cost is not None:
                put(f"{row.cell}/{column.key}", f"{cost:.{tables[0].decimals(column)}f}")
    names = Names(view)
    for family in families:
        if tables and (family.key, family.reranking) == (tables[0].key, PLAIN):
            for effect in family.effects:
                if change := effect.difference:
                    name = f"effect/{names.effect(effect).replace(' × ', '*')}/{family.metric}"
                    put_score(name, change.mean, "+.1f")
                    for end, limit in (("low", change.low), ("high", change.high)):
                        if limit is not None:
                            put_score(f"{name}/{end}", limit)
                    if effect.p_holm is not None:
                        put(f"{name}/p", escape(p_text(effect.p_holm)))
                    put(f"{name}/sentence", escape(sentence(effect, names)))
    return "\n".join(lines) + "\n"


def effect_tables(
    view: StudyView, families: Sequence[Family], beside: Sequence[Family], names: Names
) -> Iterator[Named]:
    """Main effects, placebos and the pairs that are shown; plain and re-ranked scores apart.

    Args:
        view: the study.
        families: of one protocol and metric.
        beside: the same on the other metric.
        names: of factors and levels.
    """
    levels = cells_are_levels(view.plan)
    for family in families:
        others = [other for other in beside if other.reranking == family.reranking]
        metrics = sorted([family, *others], key=lambda other: other.metric, reverse=True)  # R1 before mAP
        shown = {effect.parts for metric in metrics for effect in metric.interactions if effect.shown}
        effects = [effect for effect in family.effects if not effect.interaction or effect.parts in shown]
        seeds = max((effect.difference.n for effect in effects if effect.difference), default=0)
        if not seeds:
            continue
        claim = f"Fewer than {MIN_SEEDS} seeds: no effect claimed."
        if family.tested:
            claim = f"Bold: p < 0.05 after Holm's correction over {family.tested} {'systems' if levels else 'effects'}."
        if family.interactions:
            verb = "is" if len(shown) < 2 else "are"
            claim += f" Of {len(family.interactions)} pairs of toggles {len(shown) or 'none'} {verb} shown to interact."
        what = f"Difference from {names.display(view.baseline.label)}" if levels else "Effects"
        end = "" if family.reranking == PLAIN else "-reranked"
        by_parts = [{effect.parts: effect for effect in metric.effects} for metric in metrics]
        table = PaperTable(
            caption=f"{view.plan.title}. {what} in percentage points with 95 % intervals, {seeds} seeds. Protocol "
            f"{family.key.setting(family.reranking)}. {claim}{as_sentence(family.key.note)}",
            columns=(
                PaperColumn("System" if levels else "Effect"),
                *(PaperColumn(f"Δ {MAIN_SCORES[metric.metric]}", "change") for metric in metrics),
            ),
            rows=tuple((names.paper_effect(e), *(found.get(e.parts) for found in by_parts)) for e in effects),
        )
        yield end, table
