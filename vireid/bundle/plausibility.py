"""Whether a contributed file can be true: what it says of one thing is held to what it says of all others.

None of this proves a measurement. It refuses what no device gives (impossible speed, clocks that disagree, samples
without spread, features that were wrong) and remarks on what a reader should know.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from vireid.bundle.device.record import digest_of
from vireid.core.contribution import Contribution, Entry, SensorLog
from vireid.core.messages import counted
from vireid.core.peak import FASTEST_MHZ, seconds_at_least
from vireid.core.records import LatencyRecord

MIN_SAMPLES = 10
CLOCK_SECONDS, CLOCK_SHARE = 1.0, 0.01  # by which wall clock and monotonic one may part
DRIFT = 1.5  # median of the last quarter ÷ that of the first, or the other way round, of a short run
REMARKED_DRIFT = 1.1
DOUBTS = ("throttled", "slowed", "noisy", "other work")  # begin those of a measurement's own notes that are repeated
MAX_WATTS = 3000.0
MAX_LOAD_SECONDS = 86_400.0
MIN_COSINE = 0.999  # of float32 features that are within a thousandth of their root mean square
STAGES = 1.05  # that a sample's stages may take of it
MARGIN = 0.9  # of the shortest possible time: clocks are told to a few percent
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)  # before which no bundle wrote such files
ROUNDING = 2.0  # seconds: start and end are written in whole ones

Macs = Mapping[tuple[str, tuple[int, int]], float]  # of an image, by graph and resolution


def fault(contribution: Contribution, macs: Macs, now: datetime | None = None) -> str:
    """Why a file cannot be true, its first reason; empty where nothing says so.

    Args:
        contribution: of the schema.
        macs: multiply-accumulates of an image, by digest of the graph and resolution; what is not in it is held to no
            peak.
        now: the present; for tests.
    """
    reasons = _card(contribution)
    for number, entry in enumerate(contribution.records, 1):
        found = next(_record(contribution, entry, macs, now or datetime.now(UTC)), "")
        reasons += [f"record {number}: {found}"] if found else []
    return next(iter([*reasons, *_together(contribution.records)]), "")


def remarks(contribution: Contribution, macs: Macs) -> list[str]:
    """What is true and should be known: virtual machines, throttling, drift, arithmetic that was held to no peak."""
    notes = []
    if contribution.device.virtual:
        notes.append(f"a virtual machine ({contribution.device.virtual}): timings are of its host too")
    for record in contribution.measured:
        label = f"{record.precision}, {counted(record.threads, 'thread')}, batch {record.batch}"
        notes += [f"{label}: {note}" for note in record.notes if note.startswith(DOUBTS)]
        if not record.windows and (change := drift(record.seconds)) > REMARKED_DRIFT:
            notes.append(f"{label}: samples drift by a factor of {change:.2f} over the run")
    unknown = sorted({(record.artefact, record.resolution) for record in contribution.measured} - set(macs))
    notes += [
        f"no cost record names the graph {graph} at {height}×{width}: held to no peak, shown in no report"
        for graph, (height, width) in unknown
    ]
    return list(dict.fromkeys(notes))


def drift(seconds: Sequence[float]) -> float:
    """Median of the last quarter of samples over that of the first, or the other way round: 1 or more."""
    quarter = max(3, len(seconds) // 4)
    first, last = statistics.median(seconds[:quarter]), statistics.median(seconds[-quarter:])
    return max(first, last) / min(first, last)


def _card(contribution: Contribution) -> list[str]:
    card = contribution.device
    reasons = [
        f"the check of {check.model} failed ({check.reason or 'no reason given'}); measure the others alone (--only)"
        for check in contribution.checks
        if not check.passed
    ]
    reasons += [
        f"the check of {check.model} claims to have passed with a cosine of {check.cosine}"
        for check in contribution.checks
        if check.passed and (check.cosine is None or (check.precision == "fp32" and check.cosine < MIN_COSINE))
    ]
    if card.physical_cores and card.logical_cores and card.physical_cores > card.logical_cores:
        reasons.append(f"device: {card.physical_cores} physical cores of {card.logical_cores} logical ones")
    clock = card.frequency_mhz or {}
    if clock.get("max", 0) > FASTEST_MHZ:
        reasons.append(f"device: a clock of {clock['max']:.0f} MHz, and no processor exceeds {FASTEST_MHZ:.0f} MHz")
    if clock.get("min", 0) > clock.get("max", FASTEST_MHZ):
        reasons.append("device: the lowest clock is above the highest")
    if not contribution.measured:
        reasons.append("no finished measurement in it")
    return reasons


def _record(contribution: Contribution, entry: Entry, macs: Macs, now: datetime) -> Iterator[str]:
    """Reasons against one record, most basic first: later ones may rest on what earlier ones hold."""
    record = entry.record
    yield from _same_machine(contribution, record)
    if (record.artefact, record.precision) not in {(check.graph, check.precision) for check in contribution.checks}:
        yield f"its graph in {record.precision} is none of those whose features were checked"
    yield from _times(record, now)
    if record.status == "skipped":
        yield "was skipped, which no device program does"
    if record.status != "ok":
        if record.seconds:
            yield f"{record.status}, and has samples"
        return
    yield from _samples(record)
    yield from _clocks(record, entry.sensors)
    yield from _arithmetic(contribution, record, macs)
    yield from _windows(entry)
    yield from _stages(entry)
    yield from _resources(contribution, record)
    yield from _power(record, entry.sensors)
    if not record.windows and drift(record.seconds) > DRIFT:
        yield (
            f"samples drift by a factor of {drift(record.seconds):.2f} over the run: throttling, or other work; let "
            "the device rest and measure again, or for longer with --sustained"
        )


def _same_machine(contribution: Contribution, record: LatencyRecord) -> Iterator[str]:
    card, device = contribution.device, record.environment.device
    for name in ("cpu", "architecture", "isa", "logical_cores", "physical_cores", "memory_bytes", "os"):
        if device[name] != getattr(card, name):
            yield f"was made on another machine than the device card's ({name})"
    if record.environment.packages != card.packages or record.environment.python != card.python:
        yield "was made with other software than the device card's"
    if record.environment.accelerator != "cpu":
        yield f"was made on the accelerator '{record.environment.accelerator}', and a bundle computes on the processor"
    if not record.isolated:
        yield "was not made in a process of its own, as a bundle's are"


def _times(record: LatencyRecord, now: datetime) -> Iterator[str]:
    try:
        started, ended = (datetime.fromisoformat(text) for text in (record.started, record.ended))
        length = (ended - started).total_seconds()
        if started < EARLIEST:
            yield f"started {record.started}, before there were such files: set the device's clock and measure again"
        if ended > now + timedelta(days=1):
            yield f"ended {record.ended}, which is in the future: set the device's clock and measure again"
    except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone beside one with
        yield "started or ended at what is no date with a time zone"
        return
    if length < 0:
        yield "ended before it started: the clock jumped; measure again"
    if sum(record.seconds) > length + ROUNDING:
        yield f"samples add up to {sum(record.seconds):.1f} s, and it took {length:.0f} s"


def _samples(record: LatencyRecord) -> Iterator[str]:
    count = len(record.seconds)
    if count and min(record.seconds) <= 0:
        yield f"a sample of {min(record.seconds):g} s: times are above 0"
    if count < MIN_SAMPLES:
        yield f"{count} samples, fewer than {MIN_SAMPLES}; measure longer (--seconds)"
    if len(set(record.seconds)) == 1:
        yield "all samples are equal, which no clock gives"
    if min(record.batch, record.threads, *record.resolution) < 1 or record.warmup < 0:
        yield "batch, threads and pixels are counted from 1, discarded calls from 0"


def _clocks(record: LatencyRecord, sensors: SensorLog) -> Iterator[str]:
    wall, monotonic = sensors.clock.wall, sensors.clock.monotonic
    if abs(wall - monotonic) > max(CLOCK_SECONDS, CLOCK_SHARE * abs(monotonic)):
        yield (
            f"the clock jumped: {wall:.1f} s by the wall clock and {monotonic:.1f} s by the monotonic one; measure "
            "again once the device has the right time and does not sleep"
        )
    if sum(record.seconds) > monotonic + 0.1:
        yield f"samples add up to {sum(record.seconds):.2f} s, and the clock counted {monotonic:.2f} s"


def _arithmetic(contribution: Contribution, record: LatencyRecord, macs: Macs) -> Iterator[str]:
    card = contribution.device
    machine = card.physical_cores or card.logical_cores
    if card.logical_cores and record.threads > card.logical_cores:
        yield f"{record.threads} threads on {card.logical_cores} cores"
    cores = min(record.threads, machine or record.threads)
    known = macs.get((record.artefact, record.resolution))
    if known is None:
        return
    clock = (card.frequency_mhz or {}).get("max")
    least = MARGIN * seconds_at_least(known * record.batch, card.isa, record.precision, cores, clock)
    fastest = min(record.seconds)
    if fastest < least:
        yield (
            f"faster than physically possible: {known * record.batch:.3g} multiply-accumulates in {1e3 * fastest:.3g} "
            f"ms, and {cores} such cores need {1e3 * least:.3g} ms at their highest clock"
        )


def _windows(entry: Entry) -> Iterator[str]:
    record = entry.record
    if bool(record.windows) != ("sustained_seconds" in entry.specification):
        yield "has windows and was not to be sustained, or the other way round"
    if not record.windows:
        return
    if sum(window["samples"] for window in record.windows) != len(record.seconds):
        yield "its windows hold another number of samples than it has"
    edges = [edge for window in record.windows for edge in (window["start"], window["end"])]
    if any(later < earlier for earlier, later in pairwise(edges)):
        yield "its windows go back in time"


def _stages(entry: Entry) -> Iterator[str]:
    record = entry.record
    if bool(record.stages) != ("stages" in entry.specification):
        yield "has stages and was not to search, or the other way round"
    for name, seconds in record.stages.items():
        if len(seconds) != len(record.seconds) or min(seconds, default=0.0) < 0:
            yield f"the stage '{name}' has another number of samples, or some below 0"
            return
    for number, whole in enumerate(record.seconds if record.stages else ()):
        if sum(seconds[number] for seconds in record.stages.values()) > STAGES * whole:
            yield f"the stages of sample {number + 1} take longer than the whole"
            return


def _resources(contribution: Contribution, record: LatencyRecord) -> Iterator[str]:
    memory = contribution.device.memory_bytes
    named: list[tuple[str, float | None]] = [
        ("load_seconds", record.load_seconds),
        ("rss_bytes", record.rss_bytes),
        ("size_bytes", record.size_bytes),
    ]
    for name, value in named:
        if value is not None and (value <= 0 or (name == "load_seconds" and value > MAX_LOAD_SECONDS)):
            yield f"{name} is {value:g}"
    if memory is not None and record.rss_bytes is not None and record.rss_bytes > memory:
        yield f"{record.rss_bytes / 1e6:.0f} MB resident on a machine of {memory / 1e6:.0f} MB"
    if record.affinity is not None and len(record.affinity) != record.threads and not _unpinned(record):
        yield f"held to {len(record.affinity)} cores with {record.threads} threads"


def _unpinned(record: LatencyRecord) -> bool:
    return any(note.startswith("not pinned") for note in record.notes)


def _power(record: LatencyRecord, sensors: SensorLog) -> Iterator[str]:
    joules = record.joules_per_image
    if joules is None:
        return
    watts = joules * len(record.seconds) * record.batch / max(sensors.clock.monotonic, 1e-9)
    if not 0 < watts < MAX_WATTS:
        yield f"{joules:g} J a query, {watts:.3g} W: no device of this kind takes that"


def _together(entries: Sequence[Entry]) -> Iterator[str]:
    """Reasons that only several records show."""
    same: list[tuple[str, Callable[[Entry], str]]] = [
        ("one id", lambda entry: entry.record.id),
        ("the same samples", lambda entry: digest_of(entry.record.seconds)),
    ]
    finished = [(number, entry) for number, entry in enumerate(entries, 1) if entry.record.status == "ok"]
    for what, read in same:
        seen: dict[str, int] = {}
        for number, entry in finished:
            if (first := seen.setdefault(read(entry), number)) != number:
                yield f"records {first} and {number} have {what}"
