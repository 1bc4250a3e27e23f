"""The command that lists the suite's systems."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vireid.cli import app, opened, refuse
from vireid.cli.published import SortKey, as_json, chosen, published_tables
from vireid.cli.show import console
from vireid.core.errors import UserError
from vireid.core.messages import DASH
from vireid.core.published import bibtex as bibtex_of
from vireid.core.published import published_by_name
from vireid.core.table import Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.experiment.cost.systems import SystemFacts


OF_PUBLISHED = ("dataset", "mode", "plain", "sort", "bibtex")
_OF_PUBLISHED = "With --published"


@app.command()
def models(
    ctx: typer.Context,
    count: Annotated[
        bool, typer.Option("--count", help="Count parameters and MACs anew (minutes), say what differs, keep it.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Numbers of others instead: a table per protocol, and disagreements.")
    ] = False,
    dataset: Annotated[
        Literal["sysu", "regdb", "llcm"] | None,
        typer.Option(help="Of this dataset alone.", rich_help_panel=_OF_PUBLISHED),
    ] = None,
    mode: Annotated[
        Literal["all", "indoor"] | None, typer.Option(help="Of this mode alone.", rich_help_panel=_OF_PUBLISHED)
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Without re-ranking alone: disputed and unstated ones are out, too.",
            rich_help_panel=_OF_PUBLISHED,
        ),
    ] = False,
    sort: Annotated[
        SortKey, typer.Option(help="Rows of a table: best first, by year or by method.", rich_help_panel=_OF_PUBLISHED)
    ] = "r1",
    bibtex: Annotated[
        bool,
        typer.Option("--bibtex", help="Print the works that they cite as a .bib file.", rich_help_panel=_OF_PUBLISHED),
    ] = False,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print one JSON list instead of tables.")] = False,
) -> None:
    """List every system: source, parameters by role, MACs at its resolution, importer; or what others published.

    Costs are those on record in results/systems; --count makes them again with the code that is installed.

    vireid models --published --dataset sysu --mode all --plain
    """
    if published:
        refuse(ctx, ("count",), "counts the suite's systems; leave it or --published out")
        _print_published(dataset, mode, plain=plain, sort=sort, bibtex=bibtex, json_wanted=json_wanted)
        return
    refuse(ctx, OF_PUBLISHED, "works with --published only; add --published, or leave it out")
    from vireid.experiment.cost.systems import system_facts

    if count:
        _count()
    facts = system_facts()
    if json_wanted:
        _print_json([_plain(fact) for fact in facts])
        return
    console.print(_systems(facts))
    console.print(_costs(facts))


def _print_published(
    dataset: str | None, mode: str | None, *, plain: bool, sort: SortKey, bibtex: bool, json_wanted: bool
) -> None:
    if bibtex and json_wanted:
        raise UserError("--bibtex prints a .bib file; leave --json out")
    named = published_by_name()
    records = chosen(named, dataset, mode, plain=plain)
    if bibtex:
        typer.echo(bibtex_of(records.values()), nl=False)
    elif json_wanted:
        _print_json(as_json(records))
    else:
        for table in published_tables(named, list(records.values()), sort):
            console.print(table)


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


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
    remarks += ["published numbers, protocol by protocol: `vireid models --published`"]
    table.caption = "\n".join(remarks)
    return table


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
            {
                "protocol": record.protocol,
                "metrics": record.metrics,
                **record.source.model_dump(mode="json", exclude={"kind"}),
            }
            for record in fact.published
        ],
    }
