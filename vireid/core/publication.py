"""Where a published number stands in print, and what its released code says of how it was made."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vireid.core.config import Strict

Stated = Literal["none", "applied", "not mentioned", "not known"]
"""What a document says of a step at test; ``not known`` where only its numbers were at hand."""
Verdict = Literal["confirms", "contradicts", "leaves open", "none released", "not read"]

_READ: tuple[Verdict, ...] = ("confirms", "contradicts", "leaves open")


class CodeCheck(Strict):
    """Whether released code makes a number as its record says."""

    verdict: Verdict
    """confirms: it does what the record says; contradicts: it does what the document denies or leaves out; leaves open:
    it can do either."""
    where: str = ""
    """Repository and file."""
    finding: str = ""
    """What is done there, in a sentence."""

    @model_validator(mode="after")
    def _says_what_was_read(self) -> Self:
        if (self.verdict in _READ) != bool(self.where and self.finding):
            raise ValueError(
                f"verdict '{self.verdict}' and where, finding do not agree: {', '.join(_READ)} name the file and what "
                "it does, the others neither"
            )
        return self


class Disagreement(Strict):
    """Another record that says otherwise."""

    record: str
    """Its file in results/published, without ``.json``."""
    about: str
    """In what the two differ, and what is known of the reason."""


class Publication(Strict):
    """A number's place in print; every record of ``results/published`` has one."""

    paper: str = Field(pattern=r"^[A-Za-z0-9]+$")
    """Key in references.bib of the work that is cited for the number."""
    document: str = "paper"
    """What prints it: the paper, a README, an issue, another's paper."""
    repository: str = ""
    """Of a document that lies in one, with the folder where that matters."""
    table: str | None = None
    """As the document numbers or heads it."""
    page: int | None = None
    """Of the document; files of a repository have none."""
    no_table: str = ""
    """Why no table is named; empty where one is."""
    states_reranking: Stated
    states_test_time: Stated
    code: CodeCheck
    disagrees_with: tuple[Disagreement, ...] = ()
    note: str = ""
    """What else must be known of the number, such as how it was rounded."""

    @model_validator(mode="after")
    def _names_its_table(self) -> Self:
        if bool(self.table) == bool(self.no_table):
            raise ValueError("name the table, or say in no_table why none is named; never both")
        return self

    @property
    def printed_in(self) -> str:
        """Document and table, such as ``README, Results``."""
        return ", ".join([self.document, self._table])

    @property
    def place(self) -> str:
        """The same with the repository: ``README of hulu88/PMT, Results``."""
        return ", ".join([f"{self.document} of {self.repository}" if self.repository else self.document, self._table])

    @property
    def _table(self) -> str:
        return (self.table or "table not given") + (f", page {self.page}" if self.page else "")
