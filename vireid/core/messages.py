"""The one way to a terminal, a pipe or a log: text comes out as it was written.

Rich reads square brackets as markup: printed by default, ``pip install 'vireid[deploy]'`` loses its extra, and a path
or a label in brackets vanishes. Every console of the suite is made here, with markup, emoji codes and highlighting
off, in lines, tables, titles and progress alike; colour comes from the ``style`` of a call.
"""

import os
import sys
from collections.abc import Collection
from typing import Any

from rich import table
from rich.console import Console

DASH = "–"  # in place of a value that is not there
NOT_COMPARABLE = "not comparable with published results"  # goes with every number on synthetic data
WIDTH = 140  # columns where no terminal says how many there are: tables in files and pipes stay whole


def printer(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


class Table(table.Table):
    """A table that breaks what does not fit into a narrow terminal, where rich would cut it: an id stays whole."""

    def add_column(self, *arguments: Any, **settings: Any) -> None:
        """As rich's, with ``overflow="fold"`` unless another is given."""
        super().add_column(*arguments, **{"overflow": "fold", **settings})

    def add_columns(self, *names: str, text: Collection[str] = (), **settings: Any) -> None:
        """Columns of numbers, but of ``text`` where they are named there."""
        for name in names:
            self.add_column(name, justify="left" if name in text else "right", **settings)
