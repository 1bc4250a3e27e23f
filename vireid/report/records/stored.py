"""A store's records as reports take them: from rows of its index, which have all of a record but a fit's samples."""

from collections.abc import Callable, Iterator

from vireid.core.record_row import RecordRow
from vireid.core.records import Record
from vireid.store import Store


def stored_records(store: Store, where: Callable[[RecordRow], bool]) -> Iterator[Record]:
    """Finished records in order of id, as ``Store.records``; of fits alone the files are read again.

    Args:
        store: where they lie.
        where: which ones, by their fields.
    """
    for row in store.rows():
        if where(row):
            if row.has_samples:
                yield from store.records_of([row.id])
            else:
                yield row.record()
