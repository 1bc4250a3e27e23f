"""Where a page's copies go, and which kinds of file there are beside it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vireid.core.errors import UserError, did_you_mean
from vireid.store import write_atomically

FIGURES = ("svg", "pdf", "png")
TEXTS = ("csv", "tex", "bib", "md")
ALL = (*FIGURES, *TEXTS)
USUAL = tuple(kind for kind in ALL if kind != "png")


@dataclass(frozen=True)
class Copies:
    """A folder of copies. The page itself shows everything, whatever is kept beside it."""

    folder: Path
    kinds: frozenset[str] = frozenset(USUAL)

    def write(self, name: str, content: bytes | str) -> bool:
        """Write a copy if its kind, the end of ``name``, is wanted; whether it was.

        Raises:
            UserError: it cannot be written.
        """
        if name.rpartition(".")[2] not in self.kinds:
            return False
        write_atomically(self.folder / name, content)
        return True


def kinds_of(formats: Collection[str]) -> frozenset[str]:
    """The kinds of file that are named; the usual ones where none is. ``html``, the page, is always there.

    Raises:
        UserError: an unknown kind.
    """
    for name in formats:
        if name not in (*ALL, "html"):
            raise UserError(f"--formats {name}: no such kind of file{did_you_mean(name, ('html', *ALL))}")
    chosen = frozenset(name for name in formats if name != "html") | ({"bib"} if "tex" in formats else frozenset())
    return chosen if formats else frozenset(USUAL)
