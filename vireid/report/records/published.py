"""Published numbers of the suite, each with its citation."""

from pathlib import Path

from vireid.core.errors import UserError
from vireid.core.records import CostRecord, EvaluationRecord, read_record
from vireid.core.shipped import shipped

PUBLISHED = shipped("results/published")


def published_records(folder: Path = PUBLISHED) -> list[EvaluationRecord | CostRecord]:
    """Published accuracies and costs in order of file name; none where the folder is absent.

    Raises:
        UserError: a file is not a record, or does not say where its number comes from.
    """
    records: list[EvaluationRecord | CostRecord] = []
    for path in sorted(folder.glob("*.json")):
        record = read_record(path.read_bytes(), str(path))
        if record.source.kind != "published" or not record.source.citation:
            raise UserError(f"{path}: a published record needs source.kind 'published' and a citation")
        if isinstance(record, EvaluationRecord | CostRecord):
            records.append(record)
    return records
