"""The command that lists the suite's systems."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vireid.cli import app, opened
from vireid.cli.show import console
from vireid.core.messages import DASH
from vireid.core.table import Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.core.protocol_card import ProtocolCard
    from vireid.experiment.cost.systems import SystemFacts


@app.command()
def models(
    count: Annotated[
        bool, typer.Option("--count", help="Count parameters and MACs anew (minutes), say what differs, keep it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list instead of tables.")] = False,
) -> None:
    """List every system: source, parameters by role, MACs at its resolution, importer, published numbers.

    Costs are those on record in results/systems; --count makes them again with the code that is installed.
    """
    from vireid.experiment.cost.systems import system_facts

    if count:
        _count()
    facts = system_facts()
    if as_json:
        typer.echo(json.dumps([_plain(fact) for fact in facts], indent=1, ensure_ascii=False))
        return
    console.print(_systems(facts))
    console.print(_costs(facts))
    console.print(_published(facts))


def _count() -> None:
    from vireid.experiment.cost.systems import count_systems, write_counts

    with tempfile.TemporaryDirectory(prefix="vireid-count-") as folder, bars() as progress:
        written = write_counts(count_systems(opened(Path(folder)), progress))
    for path in written:
        console.print(f"counted anew: {path}", soft_wrap=True)
    if not written:
        console.print("every count is as it is on record")


def _systems(facts: list[SystemFacts]) -> Table:
    table = Table("Systems, as model=… names them")
    table.add_columns("model", "source", "importer", text=("model", "importer"), wrap=("source",))
    for fact in facts:
        table.add_row(fact.system.preset, fact.system.source, fact.system.importer or DASH)
    table.caption = "importer: reads checkpoints of the public code, `vireid import FILE --arch …`"
    return table


def _costs(facts: list[SystemFacts]) -> Table:
    table = Table("Costs: parameters in millions, MACs of one image")
    table.add_columns("model", "deployed", "training-only", "dead", "size", "GMAC", text=("model",))
    for fact in facts:
        if fact.cost is None:
            table.add_row(fact.system.preset, *[DASH] * 5)
            continue
        counts, (height, width) = fact.cost.parameters, fact.cost.resolution
        table.add_row(
            fact.system.preset,
            *(f"{counts.get(role, 0) / 1e6:.2f}" for role in ("deployed", "training_only", "dead")),
            f"{height}×{width}",
            DASH if fact.cost.macs is None else f"{fact.cost.macs / 1e9:.2f}",
        )
    classes = {fact.cost.num_classes for fact in facts if fact.cost is not None}
    remarks = [f"training-only parameters at {', '.join(map(str, sorted(classes)))} classes"]
    remarks += ["on record in results/systems; `vireid models --count` counts them anew"]
    remarks += [
        f"{fact.system.preset}: a text encoder of {fact.cost.text_parameters / 1e6:.2f} M runs too where queries have "
        "text; here it is among the training-only ones, as all figures are those of images alone"
        for fact in facts
        if fact.cost is not None and fact.cost.text_parameters
    ]
    remarks += [f"{fact.system.preset}: {fact.reason}" for fact in facts if fact.reason]
    table.caption = "\n".join(remarks)
    return table


def _published(facts: list[SystemFacts]) -> Table:
    table = Table("Published numbers (%), as their authors report them on real data")
    table.add_columns("model", "protocol", "R1", "mAP", text=("model",), wrap=("protocol",))
    table.add_column("citation", "note")
    for fact in facts:
        for record in fact.published:
            table.add_row(
                fact.system.preset,
                _protocol_label(record.card),
                *(f"{100 * record.metrics[m]:.2f}" if m in record.metrics else DASH for m in ("r1", "mAP")),
                record.source.citation or "",
            )
    table.caption = "never comparable with synthetic results"
    return table


def _protocol_label(card: ProtocolCard) -> str:
    labels = [card.name, card.mode, card.direction, "" if card.is_plain else "re-ranked"]
    return " · ".join(map(str, filter(None, [*labels, f"text {card.text}" if card.reads_text else ""])))


def _plain(fact: SystemFacts) -> dict[str, object]:
    return {
        "model": fact.system.preset,
        "source": fact.system.source,
        "parameters": None if fact.cost is None else fact.cost.parameters,
        "text_parameters": 0 if fact.cost is None else fact.cost.text_parameters,
        "macs": None if fact.cost is None else fact.cost.macs,
        "resolution": list(fact.system.resolution),
        "reason": fact.reason or None,
        "importer": fact.system.importer,
        "published": [
            {"protocol": record.protocol, "metrics": record.metrics, "citation": record.source.citation}
            for record in fact.published
        ],
    }
