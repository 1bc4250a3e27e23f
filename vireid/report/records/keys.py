"""What numbers must share before they may stand side by side: one key for accuracies, one for latencies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from vireid.core.config import canonical_json
from vireid.core.environment import MACHINE_IDENTITY, Environment
from vireid.core.identity import run_id
from vireid.core.protocol_card import ProtocolCard
from vireid.core.records import EvaluationRecord, FitRecord, LatencyRecord
from vireid.report.records.labels import data_label, data_note, device_label

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
    def deployed(cls, fit: FitRecord, evaluation: EvaluationRecord) -> Self:
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
    def is_usual(self) -> bool:
        """Whether it is a plain search over all cameras: the default."""
        return self.card.mode != "indoor" and not self.card.reads_text and not self.card.augments


@dataclass(frozen=True, order=True)
class TimingKey:
    """What latencies must share: the machine, the mode of measuring and the threads."""

    device: str  # name of the machine
    mode: str  # a limit's name, "isolated" or OWN_PROCESS; sustained runs say so
    threads: int
    machine: str  # digest of the machine's identity
    cores: int | None = None  # of the machine
    accelerator: str = "cpu"

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
        )

    @property
    def condition(self) -> tuple[str, str, int]:
        """What decides whether two keys are the same; the name of a machine does not."""
        return self.machine, self.mode, self.threads

    @property
    def threads_label(self) -> str:
        """``"1 thread"`` or ``"4 threads"``."""
        return f"{self.threads} thread{'s' if self.threads != 1 else ''}"

    @property
    def heading(self) -> str:
        """Threads and mode."""
        return f"{self.threads_label}, {self.mode}"

    def __str__(self) -> str:
        return f"{self.device}, {self.heading}"


def machine_digest(environment: Environment) -> str:
    """Digest of a machine's identity: only latencies with equal digests may stand side by side."""
    machine = {key: environment.device.get(key) for key in MACHINE_IDENTITY}
    return run_id([machine, environment.accelerator])
