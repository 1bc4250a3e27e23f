"""What corruptions cost fits: accuracy on images as they are, on corrupted ones, and the relative drop between."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from vireid.config import ExperimentConfig
from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord
from vireid.evaluation.corruption import Where
from vireid.evaluation.test_time import ModelProtocol

METRICS = ("r1", "mAP", "mINP")


@dataclass(frozen=True, slots=True)
class Robustness:
    """A fit under a protocol, on images as they are and on corrupted ones.

    The *relative drop* of a metric is (clean − corrupted) ÷ clean, with the mean over the records on corrupted images,
    which differ in their seed. It is what ImageNet-C's relative mCE asks (how much is lost, not how much is left), of
    one draw of kinds and severities over all images as in the re-identification benchmark: no mean over kinds, and no
    division by another model's error.
    """

    clean: EvaluationRecord
    corrupted: list[EvaluationRecord]

    def mean(self, metric: str) -> float:
        """Mean of a metric on corrupted images (a fraction) over the seeds of their draws."""
        return mean(record.metrics[metric] for record in self.corrupted)

    def spread(self, metric: str) -> float | None:
        """Its standard deviation over these seeds; None of a single one."""
        values = [record.metrics[metric] for record in self.corrupted]
        return stdev(values) if len(values) > 1 else None

    def drop(self, metric: str) -> float | None:
        """Relative drop, a fraction, negative where corruption helps; None where nothing was there to lose."""
        clean = self.clean.metrics[metric]
        return (clean - self.mean(metric)) / clean if clean else None


def corrupted_protocols(
    config: ExperimentConfig, where: Where, seeds: Sequence[int], given: Sequence[Any] = ()
) -> list[list[ModelProtocol]]:
    """Every protocol as it is, followed by its corrupted ones, one for each seed.

    Args:
        config: whose protocols without text, plainly ranked by one pass, are taken where none is given.
        where: what is corrupted.
        seeds: of the draws.
        given: protocols as configurations have them.

    Raises:
        UserError: a protocol that is wrong, names a corruption of its own, or allows none.
    """
    plain = [
        p
        for p in config.evaluation.protocols
        if (p.text, p.test_time, p.reranking.name, p.corruption) == ("none", "none", "none", None)
    ]
    protocols = [parse(ModelProtocol, protocol, "protocol") for protocol in given] or plain[:1]
    if not protocols:
        raise UserError(
            "none of the fit's protocols ranks images alone, plainly; name a protocol, such as sysu/official"
        )
    groups = []
    for protocol in protocols:
        if protocol.corruption is not None:
            raise UserError("protocol: leave its corruption out; --where and --seeds choose those that are compared")
        settings = protocol.model_dump(mode="json")
        named = [{**settings, "corruption": {"where": where, "seed": seed}} for seed in seeds]
        groups.append([protocol, *(parse(ModelProtocol, each, "protocol") for each in named)])
    return groups


def robustness(records: Sequence[EvaluationRecord], groups: Sequence[Sequence[ModelProtocol]]) -> list[Robustness]:
    """Evaluations in the order of ``groups``, one after another, by group."""
    result, start = [], 0
    for group in groups:
        clean, *corrupted = records[start : start + len(group)]
        result.append(Robustness(clean, corrupted))
        start += len(group)
    return result
