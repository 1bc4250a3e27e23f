"""What a toggle costs at inference, runtime by runtime: graphs that differ in exactly that one key of their model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vireid.core.config import canonical_json
from vireid.core.records import CostRecord
from vireid.report.hardware.deployment import Deployment, describe
from vireid.report.hardware.latency import nothing
from vireid.report.hardware.timings import Place, Timing, condition_key
from vireid.report.html import Column, Content, Fragment, Rows, table
from vireid.report.load import as_sentence


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
    """One toggle on one model in one runtime at one place: the two timings."""

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
    found = []
    for toggle in TOGGLES:
        levels: dict[tuple[object, ...], dict[str, CostRecord]] = {}
        for cost in costs:
            if cost.artefact is not None:
                rest = {key: value for key, value in cost.model.items() if key not in (toggle.key, "teacher")}
                key = canonical_json(rest), tuple(cost.resolution)
                levels.setdefault(key, {}).setdefault(str(cost.model.get(toggle.key, toggle.without)), cost)
        for level in levels.values():
            if toggle.without in level and toggle.with_ in level:
                found.append((toggle, level[toggle.without], level[toggle.with_]))
    return found


def prices(deployment: Deployment) -> list[Price]:
    """Every pair in every runtime that measured both at one place: same settings, precision, batch and resolution."""
    found: dict[tuple[object, ...], Price] = {}
    for toggle, before, after in pairs(deployment.costs):
        after_by_condition = {_condition(t): t for t in deployment.timings if t.graph == after.artefact}
        for timing in deployment.timings:
            if timing.graph == before.artefact and (other := after_by_condition.get(_condition(timing))) is not None:
                key = toggle, before.artefact, after.artefact, _condition(timing)  # models may share both graphs
                found.setdefault(key, Price(toggle, timing, other, before, after))
    return list(found.values())


def _condition(timing: Timing) -> tuple[object, ...]:
    return (timing.place.machine, timing.place.way, timing.place.threads, *condition_key(timing.first)[1:])


def toggles_section(deployment: Deployment) -> Fragment:
    """One block per toggle and place."""
    found = prices(deployment)
    if not found:
        profile = "profile=runtimes"
        return nothing(
            "No model was measured both with and without ibn=a or mha=refine at one place",
            f"vireid profile model=idkl model.ibn=none {profile}",
            f"vireid profile model=idkl model.ibn=a {profile}",
        )
    columns = [Column("Model without it", text=True), Column("Runtime", text=True), Column("Batch")]
    columns += [Column("Without", "p50, ms"), Column("With", "p50, ms"), Column("Ratio", "p50")]
    columns.append(Column("MACs", "ratio"))
    groups: dict[tuple[str, Place], list[Price]] = {}
    for price in found:
        groups.setdefault((str(price.toggle), price.without.place), []).append(price)
    blocks = [Rows(f"{name} on {place}", [_row(price) for price in own]) for (name, place), own in groups.items()]
    caption = (
        "Price of a toggle at inference: median latency with it ÷ without it, of models that differ in nothing else, "
        "on one machine, in one runtime, measured in one way. Weights do not matter for it; most of these were never "
        "trained. Beside it the ratio of MACs, which a runtime does not have to follow."
    )
    return table(columns, blocks, caption + "".join(as_sentence(note) for note in deployment.notes))


def _row(price: Price) -> list[Content]:
    height, width = price.without.first.resolution
    macs = price.macs_ratio
    return [
        f"{describe(price.cost_without.model)}, {height}×{width}",
        price.without.runtime,
        str(price.without.first.batch),
        f"{price.without.ms(50):.2f}",
        f"{price.with_.ms(50):.2f}",
        f"×{price.ratio:.2f}",
        "–" if macs is None else f"×{macs:.2f}",
    ]
