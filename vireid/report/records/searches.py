"""Times of searches from records: by rows, with what lies between two measured sizes, and the exponent over rows."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vireid.core.records import LatencyRecord, Record, SearchRecord
from vireid.report.records.keys import machine_digest


@dataclass(frozen=True)
class SearchTimes:
    """Medians of one storage, feature width and library on one machine, on one core."""

    storage: str
    features: int
    library: str  # numpy or faiss
    machine: str  # digest
    seconds: Mapping[int, float]  # by rows, ascending
    gallery_bytes: Mapping[int, int]  # likewise, where it is on record
    notes: tuple[str, ...] = ()

    def ms(self, rows: int) -> float | None:
        """Milliseconds of a search in so many rows; None beyond what was measured.

        Between two measured sizes on the straight line through both in logarithms: time is a power of rows there.
        """
        known = list(self.seconds)
        if not known or not known[0] <= rows <= known[-1]:
            return None
        logs = [math.log(self.seconds[count]) for count in known]
        return 1e3 * math.exp(float(np.interp(math.log(rows), np.log(known), logs)))

    def is_measured(self, rows: int) -> bool:
        """Whether this very size was measured."""
        return rows in self.seconds

    @property
    def exponent(self) -> float | None:
        """Slope of the logarithm of time over that of rows, by least squares; None with fewer than two sizes."""
        if len(self.seconds) < 2:
            return None
        slope, _ = np.polyfit(np.log(list(self.seconds)), np.log(list(self.seconds.values())), 1)
        return float(slope)


def search_times(records: Iterable[Record]) -> list[SearchTimes]:
    """Searches on one core by machine, library, storage and width; those that bundles bring back included.

    Of several measurements of one size the fastest counts: others ran beside more work.
    """
    groups: dict[tuple[str, str, str, int], dict[int, tuple[float, int | None, list[str]]]] = {}
    for machine, library, storage, features, rows, seconds, size, notes in filter(None, map(_search, records)):
        sizes = groups.setdefault((machine, library, storage, features), {})
        if rows not in sizes or seconds < sizes[rows][0]:
            sizes[rows] = (seconds, size, notes)
    times = []
    for (machine, library, storage, features), sizes in sorted(groups.items()):
        ascending = dict(sorted(sizes.items()))
        times.append(
            SearchTimes(
                storage,
                features,
                library,
                machine,
                {rows: seconds for rows, (seconds, *_) in ascending.items()},
                {rows: size for rows, (_, size, _) in ascending.items() if size is not None},
                tuple(dict.fromkeys(note for *_, notes in ascending.values() for note in notes)),
            )
        )
    return times


_Search = tuple[str, str, str, int, int, float, int | None, list[str]]


def _search(record: Record) -> _Search | None:
    """One search on one core; None of other records."""
    if record.status != "ok":
        return None
    if isinstance(record, SearchRecord) and record.threads == 1 and record.seconds:
        machine, middle = machine_digest(record.environment), statistics.median(record.seconds)
        of = (machine, record.library, record.storage, record.features, record.rows)
        return (*of, middle, record.gallery_bytes, record.notes)
    if isinstance(record, LatencyRecord) and record.threads == 1 and "storage" in record.stage_settings:
        settings, seconds = record.stage_settings, record.stages.get("search")
        if seconds:
            middle, width, rows = statistics.median(seconds), int(settings["features"]), int(settings["gallery"])
            of = (machine_digest(record.environment), "numpy", str(settings["storage"]), width, rows)
            return (*of, middle, settings.get("gallery_bytes"), record.notes)
    return None
