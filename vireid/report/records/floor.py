"""A floor under accuracy: the share of a float32 reference's mAP that a candidate must keep.

The rule of MLPerf's edge division (Reddi et al., ISCA 2020): what keeps 99 % of the reference model's accuracy in
float32 counts, and of that the fastest wins. The reference is one model on the same protocol and people: the most
accurate in float32, or one that is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vireid.bundle.device.choice import rank
from vireid.core.errors import UserError
from vireid.report.records.choose import EXACT, Accuracy, Deployable, DeploymentChoice


@dataclass(frozen=True)
class Floor:
    """What must be kept of whose mAP."""

    share: float
    reference: str  # label of the model
    reference_map: float  # a fraction

    @property
    def value(self) -> float:
        """The lowest mAP that is kept, a fraction."""
        return self.share * self.reference_map

    def keeps(self, accuracy: Accuracy | None) -> bool:
        """Whether an accuracy is not below."""
        return accuracy is not None and accuracy.mean_ap >= self.value

    def doubtful(self, accuracy: Accuracy | None) -> bool:
        """Whether an accuracy that is not below has an interval that reaches below, or none."""
        return accuracy is not None and self.keeps(accuracy) and (accuracy.low is None or accuracy.low < self.value)

    def __str__(self) -> str:
        return (
            f"{100 * self.value:.1f} % mAP, {100 * self.share:g} % of the {100 * self.reference_map:.1f} % of "
            f"{self.reference} in float32"
        )


def floor_of(candidates: Sequence[Deployable], share: float, reference: str | None = None) -> Floor | None:
    """The floor among evaluated candidates of one protocol and people; None where none is in float32.

    Args:
        candidates: evaluated ones.
        share: that must be kept, such as 0.99.
        reference: part of the label of the model whose float32 is the reference; the most accurate one by default.

    Raises:
        UserError: no candidate in float32 is called so.
    """
    exact = [(c, c.accuracy) for c in candidates if c.precision == EXACT and c.accuracy is not None]
    named = [(c, accuracy) for c, accuracy in exact if reference is None or reference.lower() in c.label.lower()]
    if not named:
        if reference is None:
            return None
        labels = "; ".join(dict.fromkeys(c.label for c, _ in exact)) or "none"
        raise UserError(f"--reference {reference}: no evaluated float32 model is called so; there are: {labels}")
    best, accuracy = min(named, key=lambda pair: rank(pair[1].mean_ap, pair[0].timing.ms(50)))
    return Floor(share, best.label, accuracy.mean_ap)


def fastest_above(choice: DeploymentChoice, floor: Floor) -> DeploymentChoice:
    """The same considered, with the fastest within the limits that is not below the floor as the choice."""
    percentile = choice.limits.percentile
    kept = [c for c in choice.considered if floor.keeps(c.accuracy) and not choice.limits.exceeded(c)]
    kept.sort(key=lambda c: c.timing.ms(percentile))
    best = kept[0] if kept else None
    others = [c for c in kept if best is not None and c.network != best.network]
    return replace(choice, best=best, runner_up=others[0] if others else None)


def floor_sentences(choice: DeploymentChoice, floor: Floor) -> list[str]:
    """What was chosen under a floor, and whether data show that it keeps it."""
    below = [c for c in choice.considered if not floor.keeps(c.accuracy)]
    counted = f"{len(choice.considered) - len(below)} of {len(choice.considered)} evaluated candidates keep the floor"
    if choice.best is None:
        return [f"Floor: {floor}. {counted}, and none of them is within the limits."]
    best, percentile = choice.best, choice.limits.percentile
    assert best.accuracy is not None
    score = f"mAP {100 * best.accuracy.mean_ap:.1f} % {best.accuracy.interval}".rstrip()
    lines = [
        f"{best}: {score} at {best.timing.ms(percentile):.2f} ms (p{percentile:g}) is the fastest that keeps the "
        f"floor within the limits. Floor: {floor}; {counted}."
    ]
    if floor.doubtful(best.accuracy):
        lines.append("Its interval reaches below the floor (marked ?): the data do not show that it keeps it.")
    return lines
