"""A section of a report as notebooks get it: HTML that shows itself, with its numbers and its LaTeX."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vireid.core.errors import UserError
from vireid.report.html import Html

if TYPE_CHECKING:
    import pandas as pd


class Section(Html):
    """What ``report.section(name)`` returns; the report's page shows it as it stands."""

    copies: Mapping[str, str]
    """The files that it wrote beside the page, name → content."""

    def __new__(cls, content: str = "", copies: Mapping[str, str] | None = None) -> Section:
        """Joining or formatting a section gives HTML without copies."""
        section = super().__new__(cls, content)
        section.copies = copies or {}
        return section

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """Its tables by the name of their copy, such as ``ablation-1``: full precision, scores as fractions."""
        import pandas as pd

        texts = {name: text for name, text in self.copies.items() if name.endswith(".csv")}
        return {_stem(name): pd.read_csv(io.StringIO(text)) for name, text in texts.items()}

    @property
    def frame(self) -> pd.DataFrame:
        """Its tables as one; every row names its protocol.

        Raises:
            UserError: it has none, or tables of unlike columns.
        """
        import pandas as pd

        frames = self.frames
        if not frames:
            raise UserError("this section has no table of numbers; those with one write a CSV beside the page")
        if len({tuple(frame.columns) for frame in frames.values()}) > 1:
            raise UserError(f"this section has unlike tables: take one of .frames: {', '.join(frames)}")
        filled = [frame for frame in frames.values() if not frame.empty]
        return pd.concat(filled, ignore_index=True) if filled else next(iter(frames.values()))

    def to_latex(self) -> str:
        """LaTeX to paste: the tables that the report writes, else those of numbers as pandas sets them."""
        written = [text for name, text in self.copies.items() if name.endswith(".tex")]
        return "\n".join(written) if written else str(self.frame.to_latex(index=False))


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
