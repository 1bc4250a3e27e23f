"""Commands on the record store: list, show, export, publish, add."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, opened
from vireid.cli.listing import record_lines
from vireid.cli.show import console, latency_label

results = typer.Typer(help="Look at, export, publish and add records.", no_args_is_help=True)
app.add_typer(results, name="results")
Kind = Literal["fit", "evaluation", "cost", "latency"]


@results.command("list")
def list_records(
    kind: Annotated[Kind | None, typer.Option(help="Only records of this kind.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Failed attempts instead of results.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List records; a component whose source has changed since a record was made marks it as stale."""
    from vireid.experiment.sources import stale_parts

    kept = opened(store)
    records = [r for r in (kept.failures() if failed else kept.records()) if kind in (None, r.kind)]
    if not records:
        console.print(f"no records in {kept.runs}", soft_wrap=True)
        return
    for line in record_lines(records, stale_parts(records), console.width if console.is_terminal else None):
        typer.echo(line)


@results.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of a record, or its first digits.")], store: StoreOption = DEFAULT_STORE
) -> None:
    """Print one record as JSON."""
    typer.echo(opened(store).find(run).model_dump_json(indent=2))


@results.command()
def export(
    out: Annotated[Path, typer.Argument(help="CSV file to write.")],
    kind: Annotated[Kind, typer.Option(help="Which records.")] = "evaluation",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write records as a flat CSV table."""
    from vireid.store import write_atomically

    table = opened(store).query(kind)
    write_atomically(out, table.to_csv(index=False))
    console.print(f"{len(table)} {kind} records: {out}", soft_wrap=True)


@results.command()
def publish(
    study: Annotated[str, typer.Argument(help="Name of a finished study.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for committed records.")] = Path("results"),
    part: Annotated[bool, typer.Option("--part", help="Publish what is finished of an unfinished study.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy a finished study's plan, records and report into the folder of committed results."""
    from vireid.ablation.publish import publish_study

    count = publish_study(opened(store), study, to, part=part)
    console.print(f"{count} records: {to}/runs, plan and report: {to}/studies/{study}", soft_wrap=True)


@results.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Record files that `measure.py` of a bundle wrote.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Add what was measured on other machines; every file is checked before anything is added."""
    from vireid.bundle.write import add_records, read_records

    target = opened(store)
    read = {file: read_records(file) for file in files}
    refused = False
    for file, records in read.items():
        added = add_records(target, records)
        failed = sum(record.status == "failed" for record in added.new)
        new = f"{len(added.new)} new" + (f" ({failed} of them failed measurements)" if failed else "")
        console.print(f"{file}: {new}, {len(added.known)} known: {target.runs}", soft_wrap=True)
        for graph in dict.fromkeys(record.artefact for record in added.without_cost):
            console.print(
                f"no cost record names the graph {graph}: reports show its latency once its model was profiled into "
                "this store (`vireid profile`)",
                soft_wrap=True,
            )
        for record in added.refused:
            refused = True
            console.print(
                f"refused: record {record.id} ({latency_label(record)}) is in the store with other content, which was "
                f"kept; delete {target.runs / record.id}.json and add the file again to replace it",
                soft_wrap=True,
            )
    if refused:
        raise typer.Exit(1)
