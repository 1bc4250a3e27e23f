"""Text survives its printer: brackets, colons and long lines come out as they were written."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

import vireid
from vireid.cli.show import failure_lines
from vireid.core.messages import Printer, printer
from vireid.core.table import Table
from vireid.experiment.progress import Bars, Lines

SUITE = Path(vireid.__file__).parent
MODULES = sorted(SUITE.rglob("*.py"))


def _with_brackets() -> list[str]:
    """Every text in the suite's code that holds square brackets, with a value in the place of each blank."""
    found = set()
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(p.value) if isinstance(p, ast.Constant) else "{edge}[red]" for p in node.values]
                found.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return sorted(text for text in found if re.search(r"\[.+\]", text) and text.isprintable() and len(text) < 500)


WITH_BRACKETS = _with_brackets()


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def _letters(text: str) -> str:
    """Without what tables and line ends put between."""
    return re.sub(r"[\s─]", "", text)


def test_there_are_such_texts() -> None:
    assert len(WITH_BRACKETS) > 50


@pytest.mark.parametrize("stderr", [False, True])
def test_every_text_with_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], stderr: bool) -> None:
    console = printer(stderr=stderr)
    assert console.width == 60
    for text in [*WITH_BRACKETS, "a :warning: b", "[/]", r"\[x]"]:
        console.print(text, style="bold red", soft_wrap=True)
        printed = capsys.readouterr()
        assert (printed.err if stderr else printed.out) == f"{text}\n"


def test_every_text_survives_a_table_of_60_columns(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Printer(markup=False, emoji=False, highlight=False, force_terminal=True, color_system=None, width=60)
    for text, console in itertools.product(WITH_BRACKETS, (terminal, printer())):
        table = Table(title="t [x]", caption="c [y]")
        table.add_column("head [z]")
        table.add_row(text)
        console.print(table)
        printed = _letters(capsys.readouterr().out)
        assert _letters(text) in printed, text
        assert all(part in printed for part in ("t[x]", "c[y]", "head[z]"))


def test_progress_and_failures_keep_their_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(printer(stderr=True)) as lines:
        lines.say("fit of [a], seed 1: failed")
        lines.job("cell [a]")("train", 0, 10, "loss [b]")
    with Bars(printer(stderr=True)) as shown:
        shown.say("left [c]")
        shown.job("cell [d]")("train [e]", 1, 10, "loss [f]")
    printed = _letters(capsys.readouterr().err)
    for text in ("fitof[a]", "cell[a]", "loss[b]", "left[c]", "cell[d]", "train[e]"):
        assert text in printed
    assert failure_lines({"fit of [a]": "needs 'vireid[edge]'"}) == ["failed: fit of [a]: needs 'vireid[edge]'"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(SUITE).as_posix())
def test_nobody_else_makes_a_console(file: Path) -> None:
    if file == SUITE / "core/messages.py" or "bundle/device" in file.as_posix():
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called.rpartition(".")[2] != "Console", f"{file}: use vireid.core.messages.printer"
        if isinstance(node, ast.ImportFrom):
            assert node.module != "rich" or all(alias.name != "print" for alias in node.names), file


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(SUITE).as_posix())
def test_nobody_writes_markup_which_would_be_printed_as_it_stands(file: Path) -> None:
    assert not re.search(r"\[(green|red|bold|dim|yellow|cyan|italic)\]|\[/\]", file.read_text(encoding="utf-8"))
