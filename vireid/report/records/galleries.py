"""Network, precision and gallery storage chosen together: a query is preprocessing, network and search."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.bundle.device.choice import pareto_front, rank
from vireid.core.records import FitRecord, GalleryRecord, LatencyRecord, Record
from vireid.report.records.choose import EXACT, Accuracy, Deployable
from vireid.report.records.evaluated import counts_for, query_file_bytes
from vireid.report.records.floor import Floor
from vireid.report.records.keys import AccuracyKey, TimingKey, machine_digest
from vireid.report.records.people import on_same_people
from vireid.report.records.searches import SearchTimes, search_times


@dataclass(frozen=True)
class Retrieval:
    """One network in one file, with a gallery of some rows in one storage, searched on one core."""

    deployable: Deployable  # its accuracy is that with the gallery so stored
    storage: str
    rows: int
    row_bytes: float
    search: SearchTimes
    preprocess_seconds: float | None  # median on that machine at that resolution; None where it was not measured
    on_test: Accuracy | None = None  # where the choice is by dev and the fits were evaluated on test as well

    @property
    def accuracy(self) -> Accuracy:
        """With the gallery so stored."""
        assert self.deployable.accuracy is not None
        return self.deployable.accuracy

    @property
    def search_ms(self) -> float:
        """Median of a search."""
        milliseconds = self.search.ms(self.rows)
        assert milliseconds is not None
        return milliseconds

    def ms(self, percentile: float = 50) -> float:
        """A query: a percentile of the network, medians of preprocessing (where measured) and search."""
        return self.deployable.timing.ms(percentile) + 1e3 * (self.preprocess_seconds or 0.0) + self.search_ms

    @property
    def gallery_bytes(self) -> float:
        """Of all rows."""
        return self.rows * self.row_bytes

    @property
    def memory_bytes(self) -> float | None:
        """What the file adds to an empty runtime, and the gallery; None where the former was not measured."""
        artefact = self.deployable.timing.artefact_memory
        return None if artefact is None else artefact + self.gallery_bytes

    def __str__(self) -> str:
        return f"{self.deployable}, gallery {self.storage} searched with {self.search.library}"


def gallery_key(
    deployables: Sequence[Deployable], records: Iterable[Record], timed: TimingKey, text: str | None = None
) -> AccuracyKey | None:
    """The key that most networks timed there have stored galleries under, those on dev first, where one is chosen.

    Args:
        deployables: of ``vireid.report.records.choose.candidates``.
        records: all of the store.
        timed: what latencies share.
        text: part of the protocol's title.
    """
    there = [c for c in deployables if c.timing.key.condition == timed.condition]
    fits = {fit.id: fit for candidate in there for fit in candidate.model.fits}
    galleries = [r for r in records if isinstance(r, GalleryRecord) and r.status == "ok" and r.fit in fits]
    keys = [AccuracyKey.deployed(fits[record.fit], record) for record in galleries]
    fitting = [key for key in keys if text is None or text.lower() in key.title.lower()]
    return max(fitting, key=lambda key: (key.card.split == "dev", keys.count(key)), default=None)


def retrievals(
    deployables: Sequence[Deployable],
    records: Iterable[Record],
    key: AccuracyKey,
    timed: TimingKey,
    rows: int,
    library: str = "numpy",
) -> list[Retrieval]:
    """Every deployable timed there with every storage that its accuracy and its search time are known of.

    Args:
        deployables: of ``vireid.report.records.choose.candidates``.
        records: all of the store.
        key: what accuracies share.
        timed: what latencies share.
        rows: of the gallery.
        library: that searches.
    """
    everything = list(records)
    galleries = [r for r in everything if isinstance(r, GalleryRecord) and r.status == "ok"]
    searches = {
        (times.storage, times.features): times
        for times in search_times(everything)
        if (times.machine, times.library) == (timed.machine, library) and times.ms(rows) is not None
    }
    reported = AccuracyKey(key.card.model_copy(update={"split": "test"}), key.data, people=key.people)
    found = []
    for deployable in deployables:
        if deployable.timing.key.condition != timed.condition:
            continue
        for storage in dict.fromkeys(record.storage for record in galleries):
            accuracy, first = _accuracy(deployable, galleries, storage, key)
            if accuracy is None or first is None or (storage, first.features) not in searches:
                continue
            on_test, _ = _accuracy(deployable, galleries, storage, reported) if reported != key else (None, None)
            found.append(
                Retrieval(
                    Deployable(deployable.model, deployable.timing, accuracy),
                    storage,
                    rows,
                    first.row_bytes,
                    searches[storage, first.features],
                    preprocessing(deployable, everything),
                    on_test,
                )
            )
    compared, _ = on_same_people(one.deployable for one in found)
    return [one for one in found if one.deployable in compared]


def _accuracy(
    deployable: Deployable, galleries: Sequence[GalleryRecord], storage: str, key: AccuracyKey
) -> tuple[Accuracy | None, GalleryRecord | None]:
    """Mean over the model's fits, of which every one must have been evaluated so, and one of the records."""
    exact = deployable.precision == EXACT
    matching: list[tuple[FitRecord, GalleryRecord]] = []
    for fit in deployable.model.fits:
        fitting = [
            record
            for record in galleries
            if (record.fit, record.storage) == (fit.id, storage)
            and AccuracyKey.deployed(fit, record) == key
            and (record.artefact is None if exact else counts_for(record, deployable.timing))
        ]
        matching += [(fit, record) for record in fitting[-1:]]
    if not matching:
        return None, None
    ends = [record.intervals.get("mAP") for _, record in matching]
    lows, highs = [e.low for e in ends if e is not None], [e.high for e in ends if e is not None]
    whole = len(lows) == len(matching)
    files = [record.artefact for _, record in matching if record.artefact is not None]
    accuracy = Accuracy(
        mean_ap=float(np.mean([record.metrics["mAP"] for _, record in matching])),
        low=float(np.mean(lows)) if whole else None,
        high=float(np.mean(highs)) if whole else None,
        fits=tuple(fit.id for fit, _ in matching),
        seeds=tuple(fit.seed for fit, _ in matching),
        size_bytes=query_file_bytes(files),
        kernels=" and ".join(sorted({file.kernels for file in files if file.kernels})),
    )
    return accuracy, matching[0][1]


def preprocessing(deployable: Deployable, records: Iterable[Record]) -> float | None:
    """Median seconds from a decoded image to the network's input on that machine, at its threads and resolution."""
    timing = deployable.timing
    seconds = [
        statistics.median(record.stages["preprocess"])
        for record in records
        if isinstance(record, LatencyRecord)
        and record.stages.get("preprocess")
        and record.threads == timing.key.threads
        and tuple(record.resolution) == tuple(timing.first.resolution)
        and machine_digest(record.environment) == timing.key.machine
    ]
    return min(seconds, default=None)


@dataclass(frozen=True)
class RetrievalChoice:
    """What came of a choice among networks with their galleries."""

    considered: tuple[Retrieval, ...]
    fitting: tuple[Retrieval, ...]  # within all limits, best first
    front: tuple[Retrieval, ...]  # of latency and mAP, by rising latency
    max_ms: float | None
    max_bytes: float | None

    @property
    def best(self) -> Retrieval | None:
        """The choice."""
        return self.fitting[0] if self.fitting else None

    @property
    def runner_up(self) -> Retrieval | None:
        """The next."""
        return self.fitting[1] if len(self.fitting) > 1 else None

    def exceeded(self, one: Retrieval) -> list[str]:
        """What a candidate takes too much of; memory that was not measured is not within its limit."""
        excess = []
        if self.max_ms is not None and one.ms() > self.max_ms:
            excess.append(f"latency {one.ms():.2f} ms > {self.max_ms:g} ms")
        if self.max_bytes is not None and one.memory_bytes is None:
            excess.append("memory of the file not measured")
        elif self.max_bytes is not None and one.memory_bytes is not None and one.memory_bytes > self.max_bytes:
            excess.append(f"memory {one.memory_bytes / 1e6:.1f} MB > {self.max_bytes / 1e6:g} MB")
        return excess


def choose_retrieval(
    candidates: Sequence[Retrieval],
    max_ms: float | None = None,
    max_bytes: float | None = None,
    floor: Floor | None = None,
) -> RetrievalChoice:
    """Highest mAP within the limits, of equal ones the faster; under a floor the fastest that keeps it.

    Args:
        candidates: of one machine, protocol and number of rows.
        max_ms: of a query.
        max_bytes: of the file in memory, and the gallery.
        floor: of mAP.
    """
    points = [(one.ms(), one.accuracy.mean_ap) for one in candidates]
    front = tuple(candidates[position] for position in pareto_front(points))
    choice = RetrievalChoice(tuple(candidates), (), front, max_ms, max_bytes)
    fitting = [one for one in candidates if not choice.exceeded(one) and (floor is None or floor.keeps(one.accuracy))]
    if floor is None:
        fitting.sort(key=lambda one: (*rank(one.accuracy.mean_ap, one.ms()), one.gallery_bytes))
    else:
        fitting.sort(key=lambda one: (one.ms(), one.gallery_bytes))
    return RetrievalChoice(tuple(candidates), tuple(fitting), front, max_ms, max_bytes)
