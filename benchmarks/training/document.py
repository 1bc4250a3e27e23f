"""Puts a table into a document (docs/training.md), between its marks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


def write_table(name: str, text: str, path: Path = DOCUMENT) -> None:
    """Replace what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    document = path.read_text(encoding="utf-8")
    before, after = document.split(begin)[0], document.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def command(hidden: str | None = None) -> str:
    """The command line of this process, with the path ``hidden`` (of the user's own machine) as PATH."""
    return shlex.join(["python", *("PATH" if word == hidden else word for word in sys.argv)])
