"""The linked kinds of record: fit, evaluation, cost, latency; gallery and search. Immutable, versioned, one file each.

A record's ``id`` hashes what decides it (see ``vireid.core.identity``). Links go by id: an evaluation names its fit,
and so does a gallery; a cost names the digest of the deployed graph (``artefact``) and latencies name that artefact, so
that settings which leave the deployed graph alone share their latency. A search is of any features of its width.
Published numbers are records too, each with its citation, and so are scores of features that other programs computed:
their ``source`` names the method.
"""

import statistics
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vireid.core.config import Strict
from vireid.core.environment import Environment
from vireid.core.errors import UserError
from vireid.core.processor import IntegerKernels
from vireid.core.protocol_card import ProtocolCard
from vireid.core.source import Source

Status = Literal["ok", "failed", "skipped"]
DataKind = Literal["real", "synthetic"]


def now() -> str:
    """Current time, UTC, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class ComponentStamp(Strict):
    """Version (part of identity) and source digest (to tell stale records) of a component that took part."""

    name: str
    version: str
    digest: str


class RecordBase(Strict):
    """Fields that every record has."""

    schema_version: Literal[1] = 1
    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    status: Status
    reason: str | None = None
    """Why it failed or was skipped."""
    data_kind: DataKind
    source: Source = Source()
    environment: Environment
    components: dict[str, ComponentStamp] = {}
    started: str
    ended: str


class ImportedFile(Strict):
    """What a fit comes from: weights in a checkpoint of public code or of a fit on other images, or a features file."""

    source: str
    """Repository, and where it is known the commit, whose layout it was read by; or what fit it is, on what images; or
    whose features they are."""
    file: str
    """Its name."""
    sha256: str
    """Of the file."""
    parameters: dict[str, int] = {}
    """In a checkpoint: deployed, training_only, dead."""
    trained_on: str | None = None
    """Data that the weights were trained on; None where nothing says."""


class FitRecord(RecordBase):
    """One training run: resolved configuration, learning curves, step times, peak training memory.

    Of an imported checkpoint it says where the weights come from, and has no curves and no times. Features of another
    program stand here too, without weights: ``config`` has their digest and their images, ``data`` the latter alone.
    """

    kind: Literal["fit"] = "fit"
    config: dict[str, Any]
    """What decided the fit, resolved."""
    seed: int
    data: dict[str, Any]
    """Specification, content fingerprint, digest of labels, number of images and identities."""
    curves: list[dict[str, Any]] = []
    """One entry per epoch."""
    step_seconds: list[float] = []
    """Raw samples, one per optimiser step."""
    peak_memory_bytes: int | None = None
    """Of the training process on CPU, of the allocator on an accelerator."""
    seconds: float | None = None
    imported: ImportedFile | None = None
    """None: trained by the suite."""

    @property
    def at_bound(self) -> list[str] | None:
        """Terms whose learned weight stood at a limit of its weighting when training ended; None in older records."""
        return self.curves[-1].get("at_bound") if self.curves else None

    @property
    def step_time(self) -> float | None:
        """Seconds of a step: the mean of the middle nine tenths; None without steps.

        A median would hide what is done on some steps alone, such as GradNorm's measurement on every fourth batch.
        """
        if not self.step_seconds:
            return None
        cut = len(self.step_seconds) // 20
        return statistics.fmean(sorted(self.step_seconds)[cut : len(self.step_seconds) - cut])

    @property
    def late_gain(self) -> float | None:
        """What the last fifth of training added to mAP on dev, as a fraction; None without dev scores on both sides."""
        scored = [(entry["epoch"], entry["dev"]["mAP"]) for entry in self.curves if "mAP" in (entry.get("dev") or {})]
        before = [score for epoch, score in scored if epoch <= 0.8 * len(self.curves)]
        return scored[-1][1] - before[-1] if before and scored[-1][0] == len(self.curves) else None


class MetricInterval(Strict):
    """Percentile interval of a metric over resampled test identities: test sampling only, not training noise."""

    low: float
    high: float
    level: float
    """Such as 0.95."""
    resamples: int
    over: str = "query identities"


class EvaluatedFile(Strict):
    """A deployed file that was evaluated in place of the trained model, and how near its features are to the model's.

    ``graph`` and ``runtime`` are those of latency records: where both agree, and the resolution, a latency is of this
    file's kind.
    """

    graph: str
    """Digest of the deployed graph, ``CostRecord.artefact``."""
    runtime: dict[str, Any]
    """Configuration and version of what ran it."""
    precision: str
    """Fp32, bf16, int8."""
    resolution: tuple[int, int]
    """Height, width in pixels."""
    digest: str
    """SHA-256 of the file's content; of several files, of their names and digests."""
    parts: dict[str, str] = {}
    """SHA-256 of each file by graph and name, where there are several. Empty in older records."""
    size_bytes: int
    """Of the file, or the folder of files."""
    calibration: dict[str, Any] | None = None
    """Images by number and content, where it was quantised."""
    candidates: list[dict[str, Any]] = []
    """Settings that were compared on dev before this one was taken, with metrics."""
    cosine: float
    """Mean cosine to the trained model's features (float32, PyTorch eager) over the evaluated images."""
    overlap10: float
    """Mean share of the ten nearest gallery images that the model's features also put among theirs."""
    kernels: IntegerKernels | None = None
    """Instructions that summed the products of an integer file. None: not an integer file, or an older record."""
    runtime_version: str | None = None
    """Of the library that ran the file; None in older records."""


class EvaluationRecord(RecordBase):
    """Metrics of a fit under one protocol. Fractions; ``metric_units`` names unit, range and direction."""

    kind: Literal["evaluation"] = "evaluation"
    fit: str
    protocol: dict[str, Any]
    """The protocol card as it was written; read it through ``card``."""
    metrics: dict[str, float] = {}
    metric_units: dict[str, str] = {}
    per_trial: list[dict[str, float]] = []
    spread: dict[str, float] = {}
    """Standard deviation over trials; empty for a single trial."""
    intervals: dict[str, MetricInterval] = {}
    """Empty where a single identity leaves nothing to resample."""
    per_query_file: str | None = None
    """Parquet beside the record, relative to runs/."""
    per_query_digest: str | None = None
    """SHA-256 of that file."""
    fingerprint: str | None = None
    """Content of the evaluated images."""
    lists: dict[str, str] = {}
    """Digests of labels, gallery permutations, test lists: what the protocol reads."""
    corrupted_digest: str | None = None
    """SHA-256 of the corrupted images before the network's resize, where the protocol corrupts any."""
    artefact: EvaluatedFile | None = None
    """None: the trained model itself, in PyTorch."""

    @property
    def card(self) -> ProtocolCard:
        """What the score was measured under, typed."""
        return ProtocolCard.model_validate(self.protocol)


class CostRecord(RecordBase):
    """Parameters and MACs of a configuration's deployed graph at one resolution."""

    kind: Literal["cost"] = "cost"
    model: dict[str, Any]
    """Model configuration."""
    num_classes: int
    artefact: str | None = None
    """Digest of the deployed graph."""
    resolution: tuple[int, int]
    """Height, width in pixels."""
    images_per_forward: int = 1
    parameters: dict[str, int] = {}
    """Deployed, training_only, dead."""
    text_parameters: int = 0
    """Of those, in a text encoder that runs too where queries have text."""
    macs: float | None = None
    """Multiply-accumulates per image: convolution, linear, attention."""
    convention: str = "1 MAC = 1 multiply + 1 add"
    counters: list[dict[str, Any]] = []
    """Each counter's value, convention, uncounted operators or failure."""
    disagreement: float | None = None
    """Largest relative difference between counters."""
    size_bytes: int | None = None
    """Deployed weights."""


class LatencyRecord(RecordBase):
    """Raw latency samples of one artefact in one runtime on one device.

    A record with ``stages`` is of the way from a JPEG file to a ranked list: ``seconds`` are of that whole way.
    """

    kind: Literal["latency"] = "latency"
    artefact: str
    runtime: dict[str, Any]
    precision: str
    batch: int
    resolution: tuple[int, int]
    threads: int
    warmup: int = 0
    seconds: list[float] = []
    """Per forward of `batch` images, in order of measurement."""
    peak_memory_bytes: int | None = None
    """Highest memory that the artefact adds to an empty runtime, loading included; read it as ``artefact_memory``."""
    memory_by: str | None = None
    """How that was measured; None of records whose figure counts the module in PyTorch beside a runtime's file."""
    notes: list[str] = []
    affinity: list[int] | None = None
    """Cores that the process was held to."""
    isolated: bool = False
    """Whether a fresh process did nothing else."""
    limit: dict[str, Any] | None = None
    """Name, and each part as it was applied."""
    load_seconds: float | None = None
    """From the artefact's file to its first answer, imports not counted."""
    size_bytes: int | None = None
    """Of that file."""
    rss_bytes: int | None = None
    """Highest resident memory of the isolated process, interpreter and libraries included."""
    joules_per_image: float | None = None
    """Of the whole processor or board."""
    sensors: dict[str, Any] = {}
    """Before and after: governor, frequency, temperature, throttling; how energy was read."""
    peaks: dict[str, Any] = {}
    """Arithmetic and memory bandwidth that this machine reaches at these threads."""
    windows: list[dict[str, Any]] = []
    """Of a sustained run: start, end, number of samples, temperature, frequency."""
    stages: dict[str, list[float]] = {}
    """Seconds of each stage, as many as ``seconds``."""
    stage_settings: dict[str, Any] = {}
    """The image, rows and bytes of the gallery, length of the list."""

    @property
    def artefact_memory(self) -> int | None:
        """``peak_memory_bytes`` where it is the artefact's own; withdrawn in older records, None there."""
        return None if self.memory_by is None else self.peak_memory_bytes

    @property
    def memory_withdrawn(self) -> str:
        """Why an older record's peak memory is not shown; empty where there is none to withdraw."""
        if self.memory_by is not None or self.peak_memory_bytes is None:
            return ""
        return (
            f"peak memory {self.peak_memory_bytes / 1e6:.1f} MB is withdrawn: it counts the network's float32 weights "
            "in PyTorch, whatever the file holds; `vireid profile profile=isolated --again` measures the artefact"
        )


class PairedDifference(Strict):
    """A metric's mean difference with the interval over resampled query identities, paired by query. Fractions."""

    mean: float
    low: float
    high: float


class GalleryRecord(RecordBase):
    """Metrics of a fit under one protocol where the gallery is stored in some form (``vireid.evaluation.gallery``)."""

    kind: Literal["gallery"] = "gallery"
    fit: str
    protocol: dict[str, Any]
    """The protocol card; read it through ``card``. Its split may be test where the fit's own evaluations are of dev."""
    storage: str
    """Such as fp32, int8, pca128, binary."""
    features: int
    """Width."""
    row_bytes: float
    """That a row of the gallery takes."""
    scanned_bytes: float
    """Of these, what a search reads of every row."""
    metrics: dict[str, float] = {}
    per_trial: list[dict[str, float]] = []
    intervals: dict[str, MetricInterval] = {}
    differences: dict[str, PairedDifference] = {}
    """To the gallery in float32."""
    overlap10: float | None = None
    """Mean share of the ten nearest gallery images in float32 that are also among the ten nearest here."""
    fitted_on: dict[str, Any] | None = None
    """Training images (number, fingerprint) that means and directions are of; None where nothing is fitted."""
    fingerprint: str | None = None
    """Content of the evaluated images."""
    artefact: EvaluatedFile | None = None
    """The file that made the features; None: the trained model itself, in PyTorch."""

    @property
    def card(self) -> ProtocolCard:
        """What the score was measured under, typed."""
        return ProtocolCard.model_validate(self.protocol)


class SearchRecord(RecordBase):
    """Raw samples of searches for one query among random rows on one device: time depends on width and rows alone."""

    kind: Literal["search"] = "search"
    storage: str
    features: int
    """Width."""
    rows: int
    top: int
    """Length of the ranked list."""
    library: str
    """Numpy, as a bundle has it, or faiss."""
    library_version: str
    threads: int
    affinity: list[int] | None = None
    warmup: int = 0
    seconds: list[float] = []
    """Per query, in order of measurement."""
    notes: list[str] = []
    gallery_bytes: int | None = None
    """That the stored rows take."""
    memory_bytes: int | None = None
    """How far building and searching the gallery raised the resident memory of a fresh process."""


Record = FitRecord | EvaluationRecord | CostRecord | LatencyRecord | GalleryRecord | SearchRecord


class _Samples(BaseModel):
    """Fields of a fit that ``vireid.core.record_row.RecordRow`` lacks; the others are passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    curves: list[dict[str, Any]] = []
    step_seconds: list[float] = []


RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
_SAMPLES = TypeAdapter(_Samples)
T = TypeVar("T")


def read_record(text: str | bytes, where: str) -> Record:
    """Parse one record; ``where`` names its file in the message.

    Raises:
        UserError: not a record, or one of a schema that this version cannot read.
    """
    return _read(RECORD, text, where)


def read_samples(text: str | bytes, where: str) -> dict[str, list[Any]]:
    """Learning curves and step times of a fit's record, without the rest of it.

    Raises:
        UserError: as ``read_record``.
    """
    samples = _read(_SAMPLES, text, where)
    return {"curves": samples.curves, "step_seconds": samples.step_seconds}


def _read(schema: TypeAdapter[T], text: str | bytes, where: str) -> T:
    try:
        return schema.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{where}: not a readable record ({key}: {first['msg']}); move the file away or update vireid"
        ) from error
