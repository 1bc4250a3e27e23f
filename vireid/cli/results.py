"""Commands on the record store: list, show, diff, export, publish, add, check-devices."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, opened, trace
from vireid.cli.listing import record_entry, record_lines
from vireid.cli.show import console, latency_label
from vireid.core.messages import counted

results = typer.Typer(help="Look at, export, publish and add records.", no_args_is_help=True)
app.add_typer(results, name="results")
Run = Annotated[str, typer.Argument(help="Id of a record, or its first digits.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Kind = Literal["fit", "evaluation", "cost", "latency", "gallery", "search"]


@results.command("list")
def list_records(
    kind: Annotated[Kind | None, typer.Option(help="Only records of this kind.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Failed attempts instead of results.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """List records, oldest first; a record whose component source has changed since is marked as stale."""
    from vireid.core.collector import collector_paused
    from vireid.core.record_row import RecordRow
    from vireid.experiment.sources import stale_parts

    kept = opened(store)
    every = map(RecordRow.of, kept.failures()) if failed else kept.rows()
    with collector_paused():
        rows = [row for row in every if kind in (None, row.kind)]
        stale = stale_parts(rows)
    if as_json:
        entries = [record_entry(row, stale.get(row.id, [])) for row in rows]
        typer.echo(json.dumps(entries, indent=1, ensure_ascii=False))
    elif not rows:
        console.print(f"no records in {kept.runs}", soft_wrap=True)
    else:
        for line in record_lines(rows, stale, console.width if console.is_terminal else None):
            typer.echo(line)


@results.command()
def show(run: Run, as_json: JsonOption = False, store: StoreOption = DEFAULT_STORE) -> None:
    """Show where a record comes from: configuration, protocol card, environment, the command that makes it again."""
    from vireid.experiment.sources import stale_parts
    from vireid.experiment.trace import find_record

    kept = opened(store)
    record = find_record(kept, run)
    stale = stale_parts([record]).get(record.id, [])
    if as_json:
        typer.echo(json.dumps(trace.as_json(kept, record, stale), indent=1, ensure_ascii=False))
        return
    for piece in trace.page(kept, record, stale):
        trace.put(piece)


@results.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="Id of a record, or its first digits.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other, of the same kind.")],
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Show what sets two records apart: configuration, environment, and their numbers side by side."""
    from vireid.experiment.differences import changes, configuration, environment, figures
    from vireid.experiment.sources import stale_parts

    kept = opened(store)
    one, other = (kept.find(run) for run in (first, second))
    if as_json:
        content = {
            "records": [one.id, other.id],
            "configuration": changes(configuration(kept, one), configuration(kept, other)),
            "environment": changes(environment(one), environment(other)),
            "numbers": [{**vars(figure), "difference": figure.difference} for figure in figures(one, other, kept)],
        }
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    for piece in trace.difference_tables(kept, one, other, stale_parts([one, other])):
        trace.put(piece)


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
    console.print(f"{counted(len(table), f'{kind} record')}: {out}", soft_wrap=True)


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
    console.print(f"{counted(count, 'record')}: {to}/runs, plan and report: {to}/studies/{study}", soft_wrap=True)


@results.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Record files that `measure.py` of a bundle wrote.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Add what was measured on other machines; every file is checked before anything is added.

    A file goes to devices/DEVICE/DIGEST.json of the committed results. Files of older bundles, without a device card,
    go into the store itself.
    """
    from vireid.bundle.contributed import check_file, file_contribution, known_macs, version_of
    from vireid.bundle.write import add_records, read_records

    target = opened(store)
    old = [file for file in files if version_of(file) == 1]
    macs = known_macs(target) if len(old) < len(files) else {}
    contributed = {file: check_file(file, macs) for file in files if file not in old}
    read = {file: read_records(file) for file in old}
    refused = False
    for file, checked in contributed.items():
        placed, is_new = file_contribution(target, checked)
        count = counted(len(checked.contribution.measured), "measurement")
        what = f"{count} by {checked.contribution.contributor}" if is_new else "is there already, and was left as it is"
        console.print(f"{file}: {what}: {placed}", soft_wrap=True)
        for remark in checked.remarks:
            console.print(f"note: {remark}", soft_wrap=True)
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


@results.command("check-devices")
def check_devices(store: StoreOption = DEFAULT_STORE) -> None:
    """Check all contributed files of committed results; exit code 1 where one is wrong."""
    from vireid.bundle.contributed import check_devices as check

    kept = opened(store)
    right, wrong = check(kept)
    for reason in wrong:
        console.print(f"refused: {reason}", soft_wrap=True)
    console.print(f"{counted(right, 'contributed file')} right, {len(wrong)} refused: {kept.devices}", soft_wrap=True)
    if wrong:
        raise typer.Exit(1)
