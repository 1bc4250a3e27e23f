"""Device cards of what others measured: the machine, who measured, how warm it became, what a query costs in energy."""

from collections.abc import Mapping
from typing import Any

from vireid.core.contribution import Contribution, DeviceCard
from vireid.core.messages import DASH, precision_name
from vireid.report.html import Column, Html, bullets, join, table, tag
from vireid.report.records.deployment import DeploymentView
from vireid.report.records.keys import threads_label


def device_cards(deployment: DeploymentView) -> Html:
    """One row per contributed file, and below what its long runs and its power came to."""
    rows, lines = [], []
    for digest, contribution in deployment.contributions.items():
        card = contribution.device
        graphs = {record.artefact for record in contribution.measured}
        shown = len(graphs & set(deployment.labels))
        rows.append(
            [
                card.cpu if card.virtual is None else f"{card.cpu} (virtual machine)",
                contribution.contributor,
                contribution.records[0].record.started[:10],
                _machine(card),
                _clock(card),
                f"{_hottest(card.temperature_before)} → {_hottest(card.temperature_after)}",
                ", ".join(f"{name} {version}" for name, version in card.packages.items()),
                f"{shown} of {len(graphs)}",
                tag("code", digest[:6]),
            ]
        )
        lines += [f"{card.cpu}, {contribution.contributor}: {text}" for text in _findings(contribution)]
    columns = [Column(name, text=True) for name in ("Device", "Measured by", "On", "Machine", "Governor, clock")]
    columns += [Column("Temperature", "°C, before → after"), Column("Software", text=True)]
    columns += [Column("Graphs", "shown here"), Column("File", text=True)]
    caption = (
        "Boards that others measured with a bundle. Each file was held to what a device can do before it was filed; "
        "nothing proves that it was measured. Its latencies stand under a machine of their own in every table."
    )
    return join([table(columns, [("", rows)], caption), *([bullets(lines)] if lines else [])])


def _machine(card: DeviceCard) -> str:
    cores = [f"{card.logical_cores} cores"] if card.logical_cores else []
    memory = [f"{card.memory_bytes / 1e9:.1f} GB"] if card.memory_bytes else []
    isa = [" ".join(card.isa)] if card.isa else []
    return ", ".join([card.architecture, *cores, *memory, *isa, card.os])


def _clock(card: DeviceCard) -> str:
    highest = (card.frequency_mhz or {}).get("max")
    return ", ".join([card.governor or DASH, *([f"{highest:.0f} MHz"] if highest else [])])


def _hottest(sensors: Mapping[str, float] | None) -> str:
    return f"{max(sensors.values()):.0f}" if sensors else DASH


def _findings(contribution: Contribution) -> list[str]:
    """What sustained runs and power came to, each with the measurement that it is of."""
    texts = []
    for entry in contribution.records:
        record = entry.record
        if record.status != "ok":
            continue
        label = (
            f"{precision_name(record.precision, record.runtime)}, {threads_label(record.threads)}, batch {record.batch}"
        )
        label += ", with a search" if record.stages else ""
        sensors = entry.sensors
        if (lasting := sensors.sustained) is not None:
            rates = f"{lasting.first_rate:.2f} images/s at first, {lasting.last_rate:.2f} at last"
            verdict = "throttled" if lasting.throttled else "holds its rate"
            ends = {"°C": lasting.temperature_c, "MHz": lasting.frequency_mhz}
            seen = [_pair(pair, unit) for unit, pair in ends.items() if pair is not None]
            texts.append(f"{label}: {verdict}: {', '.join([rates, *seen])}")
        if (power := sensors.power) is not None and power.reason is None:
            texts.append(f"{label}: {_energy(power.model_dump())}")
    return list(dict.fromkeys(texts))


def _pair(ends: list[float], unit: str) -> str:
    return f"{ends[0]:.0f} → {ends[1]:.0f} {unit}"


def _energy(power: Mapping[str, Any]) -> str:
    above, idle = power["joules_per_image_above_idle"], power["idle_watts"]
    return (
        f"{power['joules_per_image']:.4g} J a query"
        + (f", {above:.4g} J of it above idle" if above is not None else "")
        + (f" ({idle:.3g} W)" if idle is not None else "")
        + f"; {power['source']}"
    )
