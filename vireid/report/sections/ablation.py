"""The ablation table of every protocol, with CSV and LaTeX copies."""

from vireid.core.messages import DASH
from vireid.report.html import Column, Html, absent, join, table, tag, with_ratio
from vireid.report.numbers import signed
from vireid.report.page import Report
from vireid.report.records.labels import SCORES, as_sentence
from vireid.report.records.study import StudyView
from vireid.report.tables import COSTS, Row, ScoreTable, csv_text, label_entry, score_entry, score_values
from vireid.statistics.seeds import MIN_SEEDS, Difference, Summary

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$",
    "→": r"$\rightarrow$", "λ": r"$\lambda$", "·": r"$\cdot$", "–": "--",
}  # fmt: skip


def render(report: Report, *, copies: str = "ablation", text: bool = True) -> Html:
    """Copies are ``tables/<copies>-<n>``; without ``text`` only protocols of images alone are shown."""
    pieces = []
    for position, content in enumerate(report.tables(text=text), start=1):
        name = f"tables/{copies}-{position}"
        links = [
            report.copy(f"{name}.csv", to_csv(content)),
            report.copy(f"{name}.tex", to_latex(report.view, content)),
        ]
        pieces += [tag("h3", content.title), to_html(report.view, content, join(links, " · "))]
    return join(pieces) if pieces else absent("No scores yet.")


def to_html(view: StudyView, content: ScoreTable, files: str = "") -> Html:
    """The table as the report shows it."""
    columns = [Column("Configuration", text=True), *(Column(name, "%") for name in SCORES.values())]
    columns += [Column(column.name, column.unit) for column in COSTS]
    blocks = [(heading, [_html_row(content, row) for row in rows]) for heading, rows in content.blocks()]
    return table(columns, blocks, caption(view, content, "Below each value its difference (of costs the ratio)"), files)


def caption(view: StudyView, content: ScoreTable, differences: str) -> str:
    """What the table shows, how it prints ``differences``, under which condition, and what it may be compared with."""
    block = view.main_block(1) or view.main_block(32)
    parts = [f"{view.plan.title} – {content.title}, trained on {content.key.accelerator}."]
    if any(row.seeds > 1 for row in content.rows):
        parts.append("Scores are mean ± standard deviation over seeds.")
    parts.append(f"{differences} from {view.baseline.label}, paired by seed.")
    if any(row.control for row in content.rows):
        parts.append("Controls check the study itself and stand outside its design.")
    if any(0 < row.seeds < MIN_SEEDS for row in content.rows):
        parts.append(f"Grey differences: fewer than {MIN_SEEDS} seeds, no effect claimed.")
    if block:
        parts.append(f"Latency is a median: {block.setup}.")
    return " ".join(parts) + as_sentence(content.key.note)


def _html_row(content: ScoreTable, row: Row) -> list[str]:
    claims = not row.baseline and not row.control
    entries = [label_entry(row.label, row.seeds, reference=row.baseline, stale=row.stale, claims=claims)]
    entries += [score_entry(row.scores[metric], row.deltas[metric]) for metric in SCORES]
    for column in COSTS:
        reference = content.reference.costs[column.key] if content.reference and not row.baseline else None
        entries.append(with_ratio(row.costs[column.key], reference, content.decimals(column)))
    return entries


def to_csv(content: ScoreTable) -> str:
    """Numbers at full precision, scores as fractions, one row per cell and re-ranking; every row carries the note."""
    rows = []
    for row in content.rows:
        entries: dict[str, object] = {
            "configuration": row.label,
            "baseline": row.baseline,
            "control": row.control,
            "reranking": row.reranking,
            "seeds": row.seeds,
        }
        for metric in SCORES:
            entries |= score_values(metric, row.scores[metric], row.deltas[metric])
        entries |= {**row.costs, "stale": row.stale, "protocol": content.title}
        entries |= {"accelerator": content.key.accelerator, "data": content.key.note or content.key.data}
        rows.append(entries)
    return csv_text(rows)


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_latex(view: StudyView, content: ScoreTable) -> str:
    """A table float (packages booktabs and xcolor); differences without a claim are grey, the caption has the note."""
    width = 1 + len(SCORES) + len(COSTS)
    heads = ["Configuration", *SCORES.values(), *(column.name for column in COSTS)]
    units = ["", *("%" for _ in SCORES), *(column.unit for column in COSTS)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption(view, content, 'In small print the difference'))}}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        " & ".join(map(escape, heads)) + r" \\",
        " & ".join(rf"{{\scriptsize {escape(unit)}}}" if unit else "" for unit in units) + r" \\",
    ]
    for heading, rows in content.blocks():
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(heading)}}}}} \\"]
        for row in rows:
            entries = [escape(row.label)]
            entries += [_latex_score(row.scores[metric], row.deltas[metric]) for metric in SCORES]
            costs = [(row.costs[column.key], content.decimals(column)) for column in COSTS]
            entries += [escape(DASH) if value is None else f"{value:.{digits}f}" for value, digits in costs]
            lines.append(" & ".join(entries) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_score(value: Summary | None, delta: Difference | None) -> str:
    if value is None:
        return escape(DASH)
    text = f"{100 * value.mean:.1f}"
    if value.sd is not None:
        text += rf"\,$\pm$\,{100 * value.sd:.1f}"
    if delta is not None:
        colour = r"\color{gray}" if delta.n < MIN_SEEDS else ""
        text += rf" {{\scriptsize{colour} {escape(signed(100 * delta.mean))}}}"
    return text
