"""What a toggle costs at inference, runtime by runtime: graphs that differ in exactly that one key of their model."""

from collections.abc import Sequence
from dataclasses import dataclass

from vireid.core.config import canonical_json
from vireid.core.messages import DASH
from vireid.core.records import CostRecord
from vireid.report.html import Column, Html, table, unfilled
from vireid.report.page import Report
from vireid.report.records.deployment import DeploymentView, describe
from vireid.report.records.keys import TimingKey
from vireid.report.records.labels import as_sentence
from vireid.report.records.timings import Timing


@dataclass(frozen=True)
class Toggle:
    """A key of a model's configuration, its level without and with."""

    key: str
    without: str
    with_: str

    def __str__(self) -> str:
        return f"{self.key}={self.with_}"


TOGGLES = (Toggle("ibn", "none", "a"), Toggle("mha", "none", "refine"))


@dataclass(frozen=True)
class Price:
    """One toggle on one model in one runtime on one machine: the two timings."""

    toggle: Toggle
    without: Timing
    with_: Timing
    cost_without: CostRecord
    cost_with: CostRecord

    @property
    def ratio(self) -> float:
        """p50 with ÷ p50 without."""
        return self.with_.ms(50) / self.without.ms(50)

    @property
    def macs_ratio(self) -> float | None:
        """MACs with ÷ MACs without."""
        before, after = self.cost_without.macs, self.cost_with.macs
        return None if not before or after is None else after / before


def pairs(costs: Sequence[CostRecord]) -> list[tuple[Toggle, CostRecord, CostRecord]]:
    """Cost records of one resolution whose models differ in a toggle and nothing else; a missing key is its default."""
    differing = []
    for toggle in TOGGLES:
        levels: dict[tuple[object, ...], dict[str, CostRecord]] = {}
        for cost in costs:
            if cost.artefact is not None:
                rest = {key: value for key, value in cost.model.items() if key not in (toggle.key, "teacher")}
                key = canonical_json(rest), tuple(cost.resolution)
                levels.setdefault(key, {}).setdefault(str(cost.model.get(toggle.key, toggle.without)), cost)
        for level in levels.values():
            if toggle.without in level and toggle.with_ in level:
                differing.append((toggle, level[toggle.without], level[toggle.with_]))
    return differing


def prices(deployment: DeploymentView) -> list[Price]:
    """Every pair in every runtime that measured both under one condition: machine, settings, precision, batch, size."""
    priced: dict[tuple[object, ...], Price] = {}
    for toggle, before, after in pairs(deployment.costs):
        timed = {t.condition: t for t in deployment.timings if t.graph == after.artefact}
        for timing in deployment.timings:
            if timing.graph == before.artefact and (other := timed.get(timing.condition)) is not None:
                key = toggle, before.artefact, after.artefact, timing.condition  # models may share both graphs
                priced.setdefault(key, Price(toggle, timing, other, before, after))
    return list(priced.values())


def render(report: Report) -> Html:
    """One block per toggle, machine, mode and threads."""
    deployment = report.deployment
    priced = prices(deployment)
    if not priced:
        profile = "profile=runtimes"
        return unfilled(
            "No model was measured both with and without ibn=a or mha=refine on one machine",
            f"vireid profile model=idkl model.ibn=none {profile}",
            f"vireid profile model=idkl model.ibn=a {profile}",
        )
    columns = [Column("Model without it", text=True), Column("Runtime", text=True), Column("Batch")]
    columns += [Column("Without", "p50, ms"), Column("With", "p50, ms"), Column("Ratio", "p50")]
    columns.append(Column("MACs", "ratio"))
    groups: dict[tuple[str, TimingKey], list[Price]] = {}
    for price in priced:
        groups.setdefault((str(price.toggle), price.without.key), []).append(price)
    blocks = [(f"{name} on {key}", [_row(price) for price in own]) for (name, key), own in groups.items()]
    caption = (
        "Price of a toggle at inference: median latency with it ÷ without it, of models that differ in nothing else, "
        "on one machine, in one runtime, measured in one mode. Weights do not matter for it; most of these were never "
        "trained. Beside it the ratio of MACs, which a runtime does not have to follow."
    )
    return table(columns, blocks, caption + as_sentence(*deployment.notes))


def _row(price: Price) -> list[str]:
    macs = price.macs_ratio
    return [
        f"{describe(price.cost_without.model)}, {price.without.resolution}",
        price.without.runtime,
        str(price.without.batch),
        f"{price.without.ms(50):.2f}",
        f"{price.with_.ms(50):.2f}",
        f"×{price.ratio:.2f}",
        DASH if macs is None else f"×{macs:.2f}",
    ]
