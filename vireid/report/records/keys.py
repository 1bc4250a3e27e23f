"""What numbers must share to stand side by side (a key for accuracies, one for latencies), and how they are printed."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vireid.core.config import canonical_json
from vireid.core.environment import Environment
from vireid.core.identity import run_id
from vireid.core.messages import DASH, NOT_COMPARABLE, quantisation_name
from vireid.core.processor import kernels_held_to, limiting
from vireid.core.protocol_card import ProtocolCard
from vireid.core.records import EvaluationRecord, FitRecord, GalleryRecord, LatencyRecord

if TYPE_CHECKING:
    from vireid.statistics.seeds import Difference

K = TypeVar("K")
T = TypeVar("T")
OWN_PROCESS = "in the profiler's process"


@dataclass(frozen=True)
class AccuracyKey:
    """What accuracies must share: the protocol without its re-ranking, the data, and one of the last two.

    A study pairs its runs by seed, so its people may differ from seed to seed, but not what trained the models.
    Deployed models are compared without pairing, so their people must be the same, whatever trained them.
    """

    card: ProtocolCard  # without re-ranking and counts
    data: str  # label of the data
    accelerator: str = ""  # that trained the models
    people: str = ""  # canonical specification of the images, without resolution and seed

    @classmethod
    def in_study(cls, fit: FitRecord, evaluation: EvaluationRecord) -> Self:
        """The key of an evaluation among those of its study."""
        return cls(evaluation.card.comparable, data_label(fit), accelerator=fit.environment.accelerator)

    @classmethod
    def deployed(cls, fit: FitRecord, evaluation: EvaluationRecord | GalleryRecord) -> Self:
        """The key of an evaluation among those of all models that can be deployed."""
        data = fit.config.get("data", {})
        synthetic = data.get("synthetic")
        if isinstance(synthetic, Mapping):
            synthetic = {key: value for key, value in synthetic.items() if key != "seed"}
        label = data_label(fit)
        people = canonical_json([label, data.get("dataset"), data.get("split"), synthetic])
        return cls(evaluation.card.comparable, label, people=people)

    @property
    def title(self) -> str:
        """The protocol on one line."""
        return self.card.title

    @property
    def note(self) -> str:
        """Warning for synthetic data, or empty."""
        return data_note(self.data)

    @property
    def trained_on(self) -> str:
        """What trained the models, as a sentence names it."""
        return trained_on(self.accelerator)

    def setting(self, reranking: str) -> str:
        """The protocol, its re-ranking, how the weights were chosen and what trained them, on one line."""
        chosen = f", {self.card.selection}" if self.card.selection else ""
        return f"{self.title}, {reranking}{chosen}, trained on {self.trained_on}"

    @property
    def is_usual(self) -> bool:
        """Whether it is a plain search over all cameras of the data that trained the model: the default."""
        return self.card.mode != "indoor" and self.card.reads_one_image and not self.card.transfer


@dataclass(frozen=True, order=True)
class TimingKey:
    """What latencies must share: the machine, the mode of measuring, the threads and what limits the kernels."""

    device: str  # name of the machine
    mode: str  # a limit's name, "isolated" or OWN_PROCESS; sustained runs say so
    threads: int
    machine: str  # digest of the machine's identity
    cores: int | None = None  # of the machine
    accelerator: str = "cpu"
    contribution: str = ""  # digest of the file that somebody else contributed; empty of the store's own
    kernels: str = ""  # what the environment held the runtime's kernels to; empty where the processor decided

    @classmethod
    def of(cls, record: LatencyRecord, names: Mapping[str, str] | None = None) -> Self:
        """The key of a latency; ``names`` of machines as ``machine_names`` gives them."""
        limit = None if record.limit is None else str(record.limit.get("name"))
        mode = limit or ("isolated" if record.isolated else OWN_PROCESS)
        machine = machine_digest(record.environment)
        return cls(
            device=(names or {}).get(machine) or device_label(record.environment),
            mode=f"{mode}, sustained" if record.windows else mode,
            threads=record.threads,
            machine=machine,
            cores=record.environment.device.get("logical_cores"),
            accelerator=record.environment.accelerator,
            kernels=kernels_held_to(str(record.runtime.get("name")), record.environment.device),
        )

    @property
    def condition(self) -> tuple[str, str, int, str]:
        """What decides whether two keys are the same; the name of a machine does not."""
        return self.machine, self.mode, self.threads, self.kernels

    @property
    def way(self) -> str:
        """The mode and, where they were held to some, the kernels."""
        return f"{self.mode}, kernels held to {self.kernels}" if self.kernels else self.mode

    @property
    def threads_label(self) -> str:
        """``"1 thread"`` or ``"4 threads"``."""
        return threads_label(self.threads)

    @property
    def heading(self) -> str:
        """Threads, mode and, where they were held to some, kernels."""
        return f"{self.threads_label}, {self.way}"

    def __str__(self) -> str:
        return f"{self.device}, {self.heading}"


def measuring(key: TimingKey, overrides: Sequence[str]) -> str:
    """The command that measures a configuration in the mode of a key; to be run on that machine."""
    mode, sustained = key.mode.removesuffix(", sustained"), key.mode.endswith(", sustained")
    limit = [] if mode in (OWN_PROCESS, "isolated") else [f'profile.limit="{mode}"']
    profile = ["profile=sustained"] if sustained else ["profile=weak"] if limit else ["profile=isolated"]
    if mode == OWN_PROCESS:
        profile = []
    command = shlex.join(["vireid", "profile", *overrides, *profile, *limit, f"profile.threads=[{key.threads}]"])
    return " ".join([*(f"{name}={value}" for name, value in limiting(key.kernels).items()), command])


def machine_digest(environment: Environment) -> str:
    """Digest of a machine's identity: only latencies with equal digests may stand side by side."""
    return run_id([environment.machine, environment.accelerator])


def training_circumstances(environment: Environment) -> tuple[str, int, str]:
    """What must agree before the times of two fits may stand side by side."""
    return machine_digest(environment), environment.threads, kernels_held_to("eager", environment.device)


METRICS = ("r1", "r5", "r10", "r20", "mAP", "mINP")
SCORES = {"r1": "R1", "r10": "R10", "r20": "R20", "mAP": "mAP", "mINP": "mINP"}  # as tables print them
MAIN_SCORES = {"r1": "R1", "mAP": "mAP"}  # of which differences are tested


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by what ``key`` takes from them, in the order in which that first comes."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def data_label(fit: FitRecord) -> str:
    """Name of the data of a fit; synthetic data carry their renderer's version."""
    specification = fit.data.get("specification") or {}
    if fit.data_kind == "real":
        return str(fit.data.get("name") or specification.get("name") or "real data")
    version = (specification.get("synthetic") or specification).get("renderer_version", "")
    return f"synthetic data (renderer {version})" if version else "synthetic data"


def data_note(label: str) -> str:
    """The warning that goes with a data label; empty for real data."""
    return f"{label}, {NOT_COMPARABLE}" if label.startswith("synthetic") else ""


def as_sentence(*notes: str) -> str:
    """Notes as the last sentences of a caption; an empty note is left out."""
    return "".join(f" {note[0].upper()}{note[1:]}." for note in notes if note)


def capitalised(text: str) -> str:
    """A text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def trained_on(accelerator: str) -> str:
    """What trained a model, as a sentence names it after "trained on"."""
    return "a CPU" if accelerator == "cpu" else accelerator


def threads_label(threads: int) -> str:
    """``"1 thread"`` or ``"4 threads"``."""
    return f"{threads} thread{'s' if threads != 1 else ''}"


def device_label(environment: Environment) -> str:
    """Name of a machine as headings print it."""
    device = environment.device
    cores = device.get("logical_cores")
    host = str(device.get("cpu") or environment.platform) + (f", {cores} logical cores" if cores else "")
    return host if environment.accelerator == "cpu" else f"{environment.accelerator} ({host})"


def runtime_label(runtime: Mapping[str, Any]) -> str:
    """A runtime's name with its settings, precision and version left out."""
    said = {
        key.replace("_", " "): quantisation_name(value) if isinstance(value, Mapping) else value
        for key, value in sorted(runtime.items())
        if key not in ("name", "precision", "version")
    }
    settings = ", ".join(
        key if value is True else f"{key} {value}" for key, value in said.items() if value not in (None, False, "")
    )
    name = str(runtime.get("name", "unnamed runtime"))
    return f"{name} ({settings})" if settings else name


def seeds_phrase(n: int) -> str:
    """``"1 seed, no effect claimed"`` and the like, for fewer than ``MIN_SEEDS``."""
    return f"{n} seed{'s' if n != 1 else ''}, no effect claimed"


def signed(value: float, decimals: int = 1) -> str:
    """Number with its sign, a true minus, and no negative zero."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) != 0 else f"±{0:.{decimals}f}"


def points(change: "Difference", metric: str = "") -> str:
    """A difference of fractions in percentage points, with its interval: ``"+2.1 mAP [1.2, 3.0]"``."""
    text = " ".join(filter(None, [signed(100 * change.mean), metric]))
    return f"{text} {interval(change)}".rstrip()


def interval(change: "Difference") -> str:
    """``"[1.2, 3.0]"`` in percentage points; empty without an interval."""
    if change.low is None or change.high is None:
        return ""
    return f"[{_plain(100 * change.low)}, {_plain(100 * change.high)}]"


def p_text(value: float | None) -> str:
    """A p value as tables print it; a dash where nothing was tested."""
    return DASH if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plain(value: float) -> str:
    return signed(value).lstrip("+±")
