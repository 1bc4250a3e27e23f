"""Papers: every committed LaTeX table fits its column, and the sample paper is set from records alone."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from vireid.report.latex import PaperColumn, PaperTable
from vireid.statistics.seeds import Summary

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "results/studies"
PAPER = ROOT / "docs/paper/paper.tex"
TABLES = sorted(path for path in STUDIES.glob("*/report/tables/*.tex") if path.name != "numbers.tex")
NUMBERS = sorted(STUDIES.glob("*/report/tables/numbers.tex"))
HEAD = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[letterpaper,textwidth=6.875in,columnsep=0.3125in,textheight=8.875in]{geometry}
\usepackage[T1]{fontenc}
\usepackage{times,amssymb,booktabs,graphicx,siunitx,hyperref}
\begin{document}
"""
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")


def overfull(source: Path, folder: Path) -> list[str]:
    """Set a document whole; every line of the log that says too wide, undefined or defined twice."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={folder}", source.name]
    environment = {**os.environ, "openout_any": "a"}  # BibTeX may write outside the folder where it runs
    for number in range(3):
        done = subprocess.run(command, cwd=source.parent, capture_output=True, timeout=300, check=False)
        auxiliary = folder / f"{source.stem}.aux"
        if number == 0 and auxiliary.is_file() and b"\\bibdata" in auxiliary.read_bytes():
            bibtex = ["bibtex", str(auxiliary.with_suffix(""))]
            subprocess.run(bibtex, cwd=source.parent, env=environment, timeout=60, check=True, capture_output=True)
    log = (folder / f"{source.stem}.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    wide = [
        line for line in log.splitlines() if (m := re.match(r"Overfull \\hbox \(([\d.]+)pt", line)) and float(m[1]) > 1
    ]
    return wide + [line for line in log.splitlines() if "undefined" in line or "multiply" in line]


def document(inputs: Sequence[Path], folder: Path) -> Path:
    source = folder / "all.tex"
    lines = [rf"\input{{{path.as_posix()}}}\clearpage" for path in inputs]
    source.write_text(HEAD + "\n".join(lines) + "\nend\n\\end{document}\n", encoding="utf-8")
    return source


@pytest.mark.check
@needs_tex
def test_committed_tables_fit_their_columns_and_share_one_paper(tmp_path: Path) -> None:
    assert len(TABLES) > 20
    assert overfull(document([*NUMBERS, *TABLES], tmp_path), tmp_path) == []


@needs_tex
def test_a_table_that_does_not_fit_is_seen(tmp_path: Path) -> None:
    table = tmp_path / "wide.tex"
    table.write_text(r"\begin{table}\begin{tabular}{l}\rule{4in}{1pt}\end{tabular}\end{table}", encoding="utf-8")
    assert len(overfull(document([table], tmp_path), tmp_path)) == 1


@needs_tex
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("head", [HEAD, HEAD.replace("times,", "")], ids=["Times", "Computer Modern"])
def test_long_names_in_several_columns_are_broken_until_they_fit(wide: bool, head: str, tmp_path: Path) -> None:
    texts = ("MACs and MMs", "Main weight", "System")[: 3 if wide else 2]
    scores = tuple(PaperColumn(f"Δ mAP {number}", "score") for number in range(6 if wide else 2))
    named = (
        "WWW AMM " * 9,
        "distillation three times, within and across modalities",
        "optimized_fork of quarter width",
    )
    row = named[: len(texts)]
    table = PaperTable(
        "Long names.",
        (*map(PaperColumn, texts), *scores),
        ((*row, *[Summary(0.512, 0.083, 6)] * len(scores)),),
        wide=wide,
    )
    path = tmp_path / "long.tex"
    path.write_text(table.latex("long"), encoding="utf-8")
    source = document([path], tmp_path)
    source.write_text(source.read_text(encoding="utf-8").replace(HEAD, head), encoding="utf-8")
    assert overfull(source, tmp_path) == []


@needs_tex
def test_the_sample_paper_is_set_without_an_overfull_box(tmp_path: Path) -> None:
    assert overfull(PAPER, tmp_path) == []


@needs_tex
def test_a_number_that_no_record_gives_stops_a_paper(tmp_path: Path) -> None:
    source = document(NUMBERS, tmp_path)
    text = source.read_text(encoding="utf-8").replace("\nend\n", "\n\\vireid{quick/nothing/mAP}\n")
    source.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match="no number 'quick/nothing/mAP'"):
        overfull(source, tmp_path)


def test_no_number_of_the_sample_paper_is_typed() -> None:
    body = PAPER.read_text(encoding="utf-8").partition(r"\begin{document}")[2]
    assert r"\vireid{" in body
    names = "vireid|ref|cite|bibliography|input|includegraphics|label|setlength|effectof"
    commands = rf"\\(?:{names})(?:\[[^]]*\])?(?:\{{[^{{}}]*(?:\{{[^{{}}]*\}}[^{{}}]*)*\}})+"
    prose = re.sub(commands, "", body)
    assert re.findall(r"\d+", prose) == []
    macros = "".join(path.read_text(encoding="utf-8") for path in NUMBERS)
    known = set(re.findall(r"\\vireidset\{([^{}]+)\}", macros))
    assert set(re.findall(r"\\vireid\{([^{}#]+)\}", body)) <= known


def test_labels_of_committed_tables_are_their_own() -> None:
    labels = [re.findall(r"\\label\{([^}]+)\}", path.read_text(encoding="utf-8")) for path in TABLES]
    assert all(len(found) == 1 for found in labels)
    assert len({found[0] for found in labels}) == len(TABLES)
