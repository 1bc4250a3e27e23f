"""Numbers that others published: the records of ``results/published``, what may share a table, and their BibTeX."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import DASH
from vireid.core.records import CostRecord, EvaluationRecord, Record, read_record
from vireid.core.shipped import shipped

PUBLISHED = shipped("results/published")
REFERENCES = "references.bib"

PublishedRecord = EvaluationRecord | CostRecord
_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,\s]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sides:
    """Two published records that say different things of one method."""

    about: str
    one: EvaluationRecord
    other: EvaluationRecord


def published_records(folder: Path = PUBLISHED) -> list[PublishedRecord]:
    """Published accuracies and costs in order of file name; none where the folder is absent.

    Raises:
        UserError: see ``published_by_name``.
    """
    return list(published_by_name(folder).values())


def published_by_name(folder: Path = PUBLISHED) -> dict[str, PublishedRecord]:
    """The same by file name without ``.json``.

    Raises:
        UserError: a file is no record of an accuracy or a cost, does not say where its number comes from, cites a work
            that references.bib lacks, or names another record that is not there.
    """
    records = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    works = references(folder) if records else {}
    for name, record in records.items():
        publication = record.source.publication
        if publication is None:
            continue
        where = folder / f"{name}.json"
        if publication.paper not in works:
            hint = did_you_mean(publication.paper, works)
            raise UserError(f"{where}: cites '{publication.paper}'{hint}; add its entry to {folder / REFERENCES}")
        for disagreement in publication.disagrees_with:
            if not isinstance(records.get(disagreement.record), EvaluationRecord):
                hint = did_you_mean(disagreement.record, records)
                raise UserError(
                    f"{where}: disagrees with '{disagreement.record}'{hint}; name the file of an accuracy in {folder}"
                )
    return records


def _read(path: Path) -> PublishedRecord:
    record = read_record(path.read_bytes(), str(path))
    if not isinstance(record, EvaluationRecord | CostRecord):
        raise UserError(f"{path}: a record of kind '{record.kind}'; only accuracies and costs are published here")
    if record.source.kind != "published" or not record.source.citation:
        raise UserError(f"{path}: a published record needs source.kind 'published' and a citation")
    if record.source.publication is None:
        raise UserError(f"{path}: a published record needs source.publication: paper, table, what code confirms")
    return record


def references(folder: Path = PUBLISHED) -> dict[str, str]:
    """BibTeX entries of the cited works, by key.

    An entry begins with ``@type{key,`` on a line of its own and ends with a line that is ``}``.

    Raises:
        UserError: no such file, text that is no such entry, or a key given twice.
    """
    path = folder / REFERENCES
    if not path.is_file():
        raise UserError(f"{path}: no such file; it holds a BibTeX entry for every work that records cite")
    text = path.read_text(encoding="utf-8")
    entries: dict[str, str] = {}
    for match in _ENTRY.finditer(text):
        if match["key"] in entries:
            raise UserError(f"{path}: key '{match['key']}' is given twice; keep one entry per work")
        entries[match["key"]] = match.group()
    if left := _ENTRY.sub("", text).strip():
        raise UserError(
            f"{path}: '{left.splitlines()[0]}' belongs to no entry; begin each with a line '@type{{key,' and end it "
            "with a line '}'"
        )
    return entries


def bibtex(records: Iterable[Record], folder: Path = PUBLISHED) -> str:
    """A ``.bib`` file of the works that published records cite, each once, in order of their keys.

    Measured records cite nothing, but for those of features with a ``paper``.

    Raises:
        UserError: a work has no entry in references.bib.
    """
    cited = sorted({key for record in records if (key := _paper(record)) is not None})
    works = references(folder) if cited else {}
    for key in cited:
        if key not in works:
            raise UserError(f"{folder / REFERENCES}: no entry '{key}'{did_you_mean(key, works)}; add it")
    return "".join(f"{works[key]}\n\n" for key in cited).removesuffix("\n")


def method(record: Record) -> str:
    """Name of the method that a record is of."""
    stamp = record.components.get("model")
    return record.source.method or ("not named" if stamp is None else stamp.name)


def _paper(record: Record) -> str | None:
    publication = record.source.publication
    return record.source.paper if publication is None else publication.paper


def table_title(record: EvaluationRecord) -> str:
    """What all rows of a table share: protocol, direction, shots, text and re-ranking; not the test-time augmentation.

    Rows of one table that differ in the latter stand in blocks of their own, see ``block_title``.
    """
    return record.card.without("test_time_augmentation").full_title


def block_title(record: EvaluationRecord) -> str:
    """What all rows of a block share beside their table's title."""
    card = record.card
    return f"test-time augmentation {card.test_time_augmentation}" if card.augments else "no test-time augmentation"


def tables(records: Iterable[EvaluationRecord]) -> dict[str, dict[str, list[EvaluationRecord]]]:
    """Records by title of table and of block: SYSU-MM01 first, plain before re-ranked, otherwise by title."""

    def order(record: EvaluationRecord) -> tuple[object, ...]:
        title = table_title(record)
        rest = (not title.startswith("sysu"), not record.card.is_plain, record.card.reads_text, title)
        return *rest, record.card.augments, block_title(record), method(record).lower()

    found: dict[str, dict[str, list[EvaluationRecord]]] = {}
    for record in sorted(records, key=order):
        found.setdefault(table_title(record), {}).setdefault(block_title(record), []).append(record)
    return found


def disagreements(
    named: Mapping[str, PublishedRecord], chosen: Sequence[EvaluationRecord] | None = None
) -> list[Sides]:
    """Every pair of records that say different things.

    Args:
        named: all records, by name.
        chosen: only pairs of which these hold one; all by default.
    """
    ids = None if chosen is None else {record.id for record in chosen}
    pairs = []
    for record in named.values():
        if not isinstance(record, EvaluationRecord) or record.source.publication is None:
            continue
        for disagreement in record.source.publication.disagrees_with:
            other = named[disagreement.record]
            if isinstance(other, EvaluationRecord) and (ids is None or {record.id, other.id} & ids):
                pairs.append(Sides(disagreement.about, record, other))
    return pairs


def percent(record: EvaluationRecord, metric: str) -> str:
    """A metric in percent, with two decimals where the source has them; a dash where it gives none."""
    if metric not in record.metrics:
        return DASH
    return f"{100 * record.metrics[metric]:.2f}".removesuffix("0")


def place(record: Record) -> str:
    """Document and table of a published number."""
    publication = record.source.publication
    return "table not given" if publication is None else publication.place
