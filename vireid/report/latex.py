"""LaTeX copy of the ablation table (needs the packages booktabs and xcolor)."""

from __future__ import annotations

from vireid.report.load import StudyView
from vireid.report.statistics import MIN_SEEDS, Difference, Summary, signed
from vireid.report.tables import COSTS, SCORES, AblationTable, caption

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$",
    "→": r"$\rightarrow$", "λ": r"$\lambda$", "·": r"$\cdot$", "–": "--",
}  # fmt: skip


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def to_latex(view: StudyView, content: AblationTable) -> str:
    """A table float; differences without a claim are grey, the caption carries the data note."""
    width = 1 + len(SCORES) + len(COSTS)
    heads = ["Configuration", *SCORES.values(), *(column.name for column in COSTS)]
    units = ["", *("%" for _ in SCORES), *(column.unit for column in COSTS)]
    words = caption(view, content, "In small print the difference")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(words)}}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        " & ".join(map(escape, heads)) + r" \\",
        " & ".join(rf"{{\scriptsize {escape(unit)}}}" if unit else "" for unit in units) + r" \\",
    ]
    for heading, rows in content.blocks():
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(heading)}}}}} \\"]
        for row in rows:
            entries = [escape(row.label)]
            entries += [_score(row.scores[metric], row.deltas[metric]) for metric in SCORES]
            for column in COSTS:
                value = row.costs[column.key]
                entries.append("--" if value is None else f"{value:.{content.decimals(column)}f}")
            lines.append(" & ".join(entries) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _score(value: Summary | None, delta: Difference | None) -> str:
    if value is None:
        return "--"
    text = f"{100 * value.mean:.1f}"
    if value.sd is not None:
        text += rf"\,$\pm$\,{100 * value.sd:.1f}"
    if delta is not None:
        change = escape(signed(100 * delta.mean))
        colour = r"\color{gray}" if delta.n < MIN_SEEDS else ""
        text += rf" {{\scriptsize{colour} {change}}}"
    return text
