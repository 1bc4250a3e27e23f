"""Tables: never crushed on a terminal, never cut in a pipe."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from rich.console import Console

from vireid.core.messages import Printer
from vireid.core.table import Either, Table

LONG = "a remark of many words that no terminal of eighty columns has room for in one line of a table"


def example() -> Table:
    table = Table("Title [x]", "a caption\nof two lines")
    table.add_column("protocol", "group")
    table.add_columns("model", "mAP", "latency ms", text=("model",))
    table.add_column("remark", "wrap")
    table.add_column("citation", "note")
    table.add_column("file", "pipe")
    for model, score in (("idkl_released_other_batch", 81.42), ("agw", 7.5)):
        table.add_row("sysu", Either(f"  {model}", model), f"{score:.2f}", "12.00", LONG, "Some, Body: Paper", "a/b\tc")
    table.add_row("regdb", "agw", "70.05", "–", "", "Any Body", "d")
    return table


def on_terminal(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    Printer(file=out, force_terminal=True, color_system=None, width=width, markup=False).print(table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_words_and_numbers_stay_whole_within_the_width(width: int) -> None:
    lines = on_terminal(example(), width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    words = " ".join(lines).split()
    for word in [*LONG.split(), "idkl_released_other_batch", "81.42", "70.05", "caption"]:
        assert word in words, word
    assert lines[0] == "Title [x]"
    assert next(line for line in lines if "81.42" in line).rstrip().endswith("[1]")
    assert "[1]  Some, Body: Paper" in lines
    assert [line for line in lines if line in ("sysu", "regdb")] == ["sysu", "regdb"]


def test_a_table_that_is_too_wide_is_a_block_per_row() -> None:
    lines = on_terminal(example(), 40)
    assert max(map(len, lines)) <= 40
    assert re.fullmatch(r"mAP +81\.42", next(line for line in lines if "81.42" in line))
    assert " ".join(" ".join(lines).split()).count("a remark of many words") == 2


def test_a_pipe_gets_a_row_a_line_whatever_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = io.StringIO()
    Printer(file=out, markup=False).print(example())
    text = out.getvalue()
    frame = pd.read_csv(io.StringIO(text), sep="\t", comment="#")
    assert list(frame) == ["protocol", "model", "mAP", "latency ms", "remark", "citation", "file"]
    assert list(frame.model) == ["idkl_released_other_batch", "agw", "agw"]
    assert list(frame.mAP) == [81.42, 7.5, 70.05]
    assert frame.remark[0] == LONG
    assert frame.file[0] == "a/b c", "a tab inside a cell would make two of it"
    assert text.splitlines()[0] == "# Title [x]"
    assert text.splitlines()[-2:] == ["# a caption", "# of two lines"]


def test_text_is_broken_on_a_terminal_alone() -> None:
    piped = io.StringIO()
    Printer(file=piped, width=30).print(LONG)
    assert piped.getvalue() == f"{LONG}\n"
    shown = io.StringIO()
    Printer(file=shown, width=30, force_terminal=True, color_system=None).print(LONG)
    assert len(shown.getvalue().splitlines()) > 2
    assert isinstance(Printer(), Console)
