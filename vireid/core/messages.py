"""The one way to a terminal, a pipe or a log: text comes out as it was written.

Rich reads square brackets as markup: printed by default, ``profile.runtimes=[eager]`` loses its value, and a path
or a label in brackets vanishes. Every console of the suite is made here, with markup, emoji codes and highlighting
off, in lines, tables, titles and progress alike; colour comes from the ``style`` of a call. Tables are those of
``vireid.core.table``.
"""

from typing import Any

from rich.console import Console

DASH = "–"  # in place of a value that is not there
NOT_COMPARABLE = "not comparable with published results"  # goes with every number on synthetic data


class Printer(Console):
    """A console that breaks and cuts lines on a terminal alone: programs read what a pipe or a file gets."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's."""
        if not self.is_terminal:
            settings["soft_wrap"] = True
        super().print(*objects, **settings)


def printer(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    return Printer(stderr=stderr, markup=False, emoji=False, highlight=False)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 thread``, ``2 threads``, ``1,024 queries``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
