"""What somebody else measured on a board of theirs: one file, read as what it is, data of a stranger.

A bundle's device program writes such files (``vireid/bundle/device/record.py``). Reading one holds it to a size, a
depth, a schema without unknown keys or coerced types, finite numbers and printable text. Whether its numbers can be
true is asked in ``vireid.bundle.plausibility``.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from vireid.core.config import Strict, canonical_json, parse
from vireid.core.errors import UserError
from vireid.core.records import LatencyRecord

RUNTIME = "onnxruntime"  # begins the names of all runtimes of bundles
MAX_FAULTS = 3  # that a message names
ANONYMOUS = "somebody who gave no name"

Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n\t]+$")]
# Names stand in titles and captions of pages, figures and papers: nothing in them is anybody's markup.
Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\r\n\t$\\<>{}`]+$")]
Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Graph = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0, le=2**20)]
Bytes = Annotated[int, Field(gt=0, le=2**50)]
Celsius = Annotated[float, Field(ge=-60, le=150)]
Megahertz = Annotated[float, Field(ge=0, le=10_000)]
Text = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\r\n\t$\\<>{}`]*$")]
Setting = Text | bool | int | float | None


class Exact(Strict):
    """No key beside these, and no value of another type that could be made one."""

    model_config = ConfigDict(strict=True)


class DeviceCard(Exact):
    """The machine of a contributed file, and how warm it was before and after."""

    cpu: Name
    architecture: Line
    isa: list[Line]
    logical_cores: Count | None
    physical_cores: Count | None
    memory_bytes: Bytes | None
    os: Line
    governor: Line | None
    frequency_mhz: dict[Literal["min", "max", "current"], Megahertz] | None
    virtual: Line | None
    """What says that it is a virtual machine; None where nothing does."""
    temperature_before: dict[Line, Celsius] | None
    """By sensor, in degrees Celsius; None where unreadable."""
    temperature_after: dict[Line, Celsius] | None
    python: Line
    packages: dict[Line, Line]


class FeatureCheck(Exact):
    """A model's features on the device against those of the bundle."""

    model: Line
    graph: Graph
    precision: Line
    passed: bool
    reason: str | None
    images: Count | None
    cosine: Annotated[float, Field(ge=-1.001, le=1.001)] | None
    """Smallest of any image; None where it is no number."""


class Clock(Exact):
    """How long a measurement took by either clock, in seconds."""

    wall: float
    monotonic: float


class Power(Exact):
    """Energy of a query, or the reason why there is none."""

    reason: str | None = None
    source: Line | None = None
    idle_watts: NotNegative | None = None
    idle_seconds: Positive | None = None
    watts: NotNegative | None = None
    seconds: Positive | None = None
    joules_per_image: NotNegative | None = None
    joules_per_image_above_idle: float | None = None
    readings: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.reason is None) == (self.joules_per_image is None):
            raise ValueError("has either a reason or joules_per_image")
        return self


class Sustained(Exact):
    """Images a second at either end of a long run."""

    first_seconds: Positive
    first_rate: Positive
    last_seconds: Positive
    last_rate: Positive
    lost: float
    """Share of the first rate."""
    drop: Annotated[float, Field(gt=0, lt=1)]
    """Share above which it is called throttled."""
    throttled: bool
    temperature_c: Annotated[list[Celsius], Field(min_length=2, max_length=2)] | None
    frequency_mhz: Annotated[list[Megahertz], Field(min_length=2, max_length=2)] | None


class SensorReading(Exact):
    """A value, or the reason why there is none."""

    value: str | float | list[str] | dict[Line, float] | None
    unit: Line | None = None
    source: str | None = None
    reason: str | None = None


class SensorLog(Exact):
    """``LatencyRecord.sensors`` of a bundle."""

    before: dict[Line, SensorReading]
    after: dict[Line, SensorReading]
    energy_by: str | None
    clock: Clock
    power: Power | None = None
    sustained: Sustained | None = None


class Window(Exact):
    """An entry of ``LatencyRecord.windows``."""

    start: Annotated[float, Field(ge=0)]
    end: Positive
    samples: Annotated[int, Field(ge=0)]
    temperature_c: Celsius | None = None
    frequency_mhz: Megahertz | None = None


class StageSettings(Exact):
    """``LatencyRecord.stage_settings`` of a bundle: what was searched."""

    measured: list[Line]
    not_measured: Line
    gallery: Count
    gallery_bytes: Bytes
    storage: Line
    features: Count
    top: Count


class Identity(Exact):
    """What of a machine decides the id of its measurements."""

    cpu: Name
    cpu_family_model_stepping: list[Line | None]
    architecture: Line
    isa: list[Line]
    logical_cores: Count | None
    physical_cores: Count | None
    accelerators: Annotated[list[str], Field(max_length=0)]


class MachineDescription(Identity):
    """``Environment.device`` of a bundle."""

    cpu: Line
    affinity: list[Annotated[int, Field(ge=0)]] | None
    memory_bytes: Bytes | None
    os: Line
    governor: Line | None
    frequency_mhz: dict[Literal["min", "max", "current"], Megahertz] | None
    threads: Count


_RUNTIME: TypeAdapter[Any] = TypeAdapter(dict[Name, Setting | dict[Name, Setting]], config=ConfigDict(strict=True))


class MeasuringBudget(Exact):
    """How long was warmed up and measured."""

    warmup_seconds: Positive
    min_seconds: Positive
    min_repeats: Count
    max_seconds: Positive
    max_repeats: Count


class Search(Exact):
    """The search that followed the network."""

    gallery: Count
    top: Count
    storage: Line = "fp32"


class Specification(Exact):
    """What decides a measurement, and with it the id of its record."""

    kind: Literal["latency"]
    by: Literal["bundle"]
    artefact: Graph
    runtime: dict[str, Any]
    threads: Count
    batch: Count
    budget: MeasuringBudget
    device: Identity
    accelerator: Literal["cpu"]
    isolate: Literal[True]
    sustained_seconds: Positive | None = None
    stages: Search | None = None


class Entry(Exact):
    """A record with what its id and its digest are of."""

    specification: dict[str, Any]
    digest: Hex
    record: LatencyRecord

    @property
    def sensors(self) -> SensorLog:
        """Typed; of finished measurements alone."""
        return SensorLog.model_validate(self.record.sensors)


class Contribution(Exact):
    """A whole file."""

    format: Literal["vireid bundle records"]
    version: Literal[2]
    bundle: Hex
    vireid: Line
    by: Name | None
    """Who measured, as they want to be named."""
    device: DeviceCard
    checks: Annotated[list[FeatureCheck], Field(min_length=1)]
    records: Annotated[list[Entry], Field(min_length=1)]

    @property
    def contributor(self) -> str:
        """Who measured, in any case."""
        return self.by or ANONYMOUS

    @property
    def measured(self) -> list[LatencyRecord]:
        """Finished measurements."""
        return [entry.record for entry in self.records if entry.record.status == "ok"]


def parse_contribution(plain: dict[str, Any], where: str) -> Contribution:
    """A file's content by its schema; ``plain`` as ``vireid.core.untrusted`` gives it.

    Raises:
        UserError: a key too many or too few, or a value of another type; the first few where there are many.
    """
    try:
        return _parsed(plain, where)
    except UserError as error:
        lines = str(error).splitlines()
        more = [f"{where}: and {len(lines) - MAX_FAULTS} more"] if len(lines) > MAX_FAULTS else []
        raise UserError("\n".join([*lines[:MAX_FAULTS], *more])) from error


def _parsed(plain: dict[str, Any], where: str) -> Contribution:
    entries = plain.get("records")
    records = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
        at = f"{where}: record {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("record"), dict):
            raise UserError(f"{at}: not a record; copy the file from the device again")
        parse(Specification, entry.get("specification"), f"{at}: specification")
        records.append({**entry, "record": _record(entry["record"], at)})
    return parse(Contribution, {**plain, "records": records} if records else plain, where)


def _record(plain: dict[str, Any], where: str) -> LatencyRecord:
    """A latency record whose every value was written as its type; parts without a schema of their own get theirs."""
    record = parse(LatencyRecord, plain, where)
    written = record.model_dump(mode="json")
    for key, value in plain.items():
        if canonical_json(written[key]) != canonical_json(value):
            raise UserError(f"{where}: {key}: of another type than records have, or without some of its keys")
    if record.peaks or record.limit is not None or record.components:
        raise UserError(f"{where}: has peaks, a limit or components, which no bundle measures")
    if record.source.model_dump() != {"kind": "measured", "citation": None}:
        raise UserError(f"{where}: source: has a citation; a bundle's records are measured")
    parse(MachineDescription, record.environment.device, f"{where}: environment.device")
    for at, schema, values in _open_parts(record):
        parse(schema, values, f"{where}: {at}")
    try:
        _RUNTIME.validate_python(record.runtime)
    except ValueError as error:
        raise UserError(f"{where}: runtime: holds more than settings") from error
    if not str(record.runtime.get("name")).startswith(RUNTIME):
        raise UserError(f"{where}: runtime: named {record.runtime.get('name')!r}; bundles compute with {RUNTIME} alone")
    return record


def _open_parts(record: LatencyRecord) -> Iterable[tuple[str, type[BaseModel], Any]]:
    if record.status == "ok":
        yield "sensors", SensorLog, record.sensors
    for number, window in enumerate(record.windows, 1):
        yield f"windows.{number}", Window, window
    if record.stages or record.stage_settings:
        yield "stage_settings", StageSettings, record.stage_settings
