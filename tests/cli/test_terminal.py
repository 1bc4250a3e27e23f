"""Every listing at 80 columns on a terminal, and through a pipe."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

RESULTS = str(Path(__file__).parents[2] / "results")
STORE = ("--store", RESULTS)
CUT = re.compile(r"\w…")
LISTINGS = [
    (("models",), "compact_mobilenet_v3_large"),
    (("models", "--published"), "optimized_fork"),
    (("ablate", "--list"), "Levels of IDKL's optimisations"),
    (("ablate", "levels", "--plan"), "refine"),
    (("results", "list", *STORE), "evaluation"),
    (("choose", *STORE, "--device", "model 17", "--max-ms", "50"), "the pick"),
    (("results", "show", "4379d77d6c68", *STORE), "vireid evaluate e5ae21295c69"),
    (("results", "diff", "f31f6a65b44b", "e5ae21295c69", *STORE), "model.name"),
]


@pytest.mark.parametrize(
    ("arguments", "word"), LISTINGS, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_no_line_is_wider_than_the_terminal(shell, arguments, word):
    shown = shell.on_terminal(*arguments)
    assert word in shown
    assert [line for line in shown.splitlines() if len(line) > 80 and "vireid" not in line] == []
    if arguments[:2] != ("results", "list"):  # of thousands, whose lines are cut at their ends
        assert not CUT.search(shown)


@pytest.mark.parametrize(("arguments", "word"), LISTINGS[:6], ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_a_pipe_gets_rows_of_equal_length(shell, arguments, word):
    result = shell.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert word in result.stdout
    rows: list[list[str]] = []
    for line in result.stdout.splitlines():
        if line.startswith("#"):
            rows = []  # another table may begin
        elif "\t" in line:
            rows.append(line.split("\t"))
            assert len(rows[-1]) == len(rows[0]), line
    assert not CUT.search(result.stdout)


def test_cut_takes_a_column_of_the_models(shell):
    lines = [line for line in shell.run("models").stdout.splitlines() if not line.startswith("#")]
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter="\t"))
    assert rows[0] == ["model", "source", "importer"]
    assert ["idkl_released", "code 1KK077/IDKL", "idkl"] in rows
