"""Where a number comes from: a fit of the suite, features of another program, or print."""

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vireid.core.config import Strict
from vireid.core.publication import Publication


class Source(Strict):
    """Where a number comes from: measured by the suite, or published by others with a citation.

    Measured it is of a fit of the suite, or of features that another program computed (``method``).
    """

    kind: Literal["measured", "published"] = "measured"
    citation: str | None = None
    publication: Publication | None = None
    """Table, page and what code confirms; records of results/published always have it."""
    method: str | None = Field(default=None, pattern=r"\S")
    """Whose features were scored; None of what the suite itself computed, and of published numbers."""
    paper: str | None = None
    """Key in references.bib of the work that features are of, where it has one there."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.publication is not None and self.kind != "published":
            raise ValueError("only a source of kind 'published' has a publication")
        if self.method is not None and (self.kind != "measured" or not self.citation):
            raise ValueError("a source with a method is 'measured' and has a citation")
        if self.paper is not None and self.method is None:
            raise ValueError("a source has a paper with a method alone; published ones name it in 'publication'")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        for name in ("publication", "method", "paper"):
            if getattr(self, name) is None:
                written.pop(name)  # records of fits are written as they always were
        return written
