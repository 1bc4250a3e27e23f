"""``vireid gallery``: a fit's gallery in every storage: what it costs in accuracy, memory and time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, finished_run, show
from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import DASH, file_name
from vireid.core.table import Either, Table

if TYPE_CHECKING:
    from vireid.core.records import GalleryRecord, SearchRecord

Library = Literal["numpy", "faiss"]


@app.command()
def gallery(
    run: Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")],
    storage: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16, int8, pca256, pca128, pca64, binary; repeatable; by default all."),
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option(help="As for `vireid evaluate`; repeatable. The fit's first by default.")
    ] = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="Also of the fit's files that were evaluated, such as int8.")
    ] = False,
    rows: Annotated[
        list[int] | None,
        typer.Option(
            help="Rows that are searched; repeatable; by default 1000, 10000, 100000, 1000000. 0: time nothing."
        ),
    ] = None,
    library: Annotated[
        list[str] | None, typer.Option(metavar="numpy|faiss", help="Repeatable; by default both, where installed.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each measured search.", min=0.01)] = 1.0,
    keep: Annotated[str, typer.Option(help="Share of float32's mAP that the chosen storage keeps on dev.")] = "99%",
    again: Annotated[bool, typer.Option("--again", help="Time anew what the profiler doubted.")] = False,
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions, seconds) instead of tables.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate a fit with its gallery in each storage, and time searches in it on one core of this machine.

    vireid gallery RUN --rows 1000 --rows 100000
    """
    from vireid.evaluation.gallery import STORAGES
    from vireid.experiment.cost.search import ROWS, search_step
    from vireid.experiment.gallery import chosen_storage, gallery_protocols, gallery_step
    from vireid.profiling.config import LatencyBudget

    share = parse_share(keep, "--keep")
    names = _known(storage or [], STORAGES, "--storage")
    libraries = _known(library or [], get_args(Library), "--library") or list(get_args(Library))
    sizes = [count for count in (rows or ROWS) if count > 0]
    budget = LatencyBudget(warmup_seconds=seconds, min_seconds=seconds, max_seconds=3 * seconds)
    with finished_run(run, store, root, protocol or []) as context:
        protocols = gallery_protocols(context)
        records = gallery_step(context, protocols if protocol else protocols[:1], names, deployed=deployed)
        stored = list(dict.fromkeys(record.storage for record in records))
        searches = search_step(context, records[0].features, stored, sizes, libraries, budget, again=again)  # type: ignore[arg-type]
    groups = _grouped(records)
    chosen = {key: chosen_storage(group, share) for key, group in groups.items()}
    if as_json:
        content = {
            "galleries": [record.model_dump(mode="json") for record in records],
            "searches": [record.model_dump(mode="json") for record in searches],
            "chosen": [{"features": key, "storage": name} for key, name in chosen.items()],
        }
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    for key, group in groups.items():
        show.console.print(accuracy_table(key, group, chosen[key], keep))
    if searches:
        show.console.print(time_table(searches))


def parse_share(text: str, option: str) -> float:
    """A share such as ``99%`` or ``0.99``.

    Raises:
        UserError: not one above 0 and up to 1.
    """
    plain = text.strip()
    try:
        share = float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"{option} {text}: give a share such as 99% or 0.99")
    return share


def _known(names: Sequence[str], valid: Sequence[str], option: str) -> list[str]:
    for name in names:
        if name not in valid:
            hint = did_you_mean(name, valid)
            raise UserError(f"{option} {name}: there is no such one{hint}; valid: {', '.join(valid)}")
    return [name for name in valid if name in names]


def _grouped(records: Sequence[GalleryRecord]) -> dict[str, list[GalleryRecord]]:
    """Records by what made the features and the protocol, both splits together."""
    groups: dict[str, list[GalleryRecord]] = {}
    for record in records:
        file = record.artefact
        made = "trained model" if file is None else f"{file_name(file)} file"
        label = record.card.model_copy(update={"split": "test"}).title  # which names no split
        groups.setdefault(f"fit {record.fit[:6]}, {made}, {record.features} values: {label}", []).append(record)
    return groups


def accuracy_table(key: str, records: Sequence[GalleryRecord], chosen: str | None, keep: str) -> Table:
    """Bytes of a row and accuracy of each storage, on dev and on test."""
    table = Table(f"Gallery of {key}")
    table.add_column("identities", "group")
    table.add_columns("storage", "B/row", "mAP % [95 %]", "to fp32 [95 %]", "R1 %", "same 10", text=("storage",))
    for name in ("low", "high", "change", "change low", "change high", "scanned B/row", "chosen"):
        table.add_column(name, "pipe")
    for record in records:
        score, change = record.intervals["mAP"], record.differences["mAP"]
        mean, low, high = (f"{100 * value:.1f}" for value in (record.metrics["mAP"], score.low, score.high))
        step, below, above = (f"{100 * value:+.2f}" for value in (change.mean, change.low, change.high))
        exact = record.storage == "fp32"
        pick = record.storage == chosen
        table.add_row(
            record.card.split,
            Either(f"{record.storage} ←" if pick else record.storage, record.storage),
            f"{record.row_bytes:g}",
            Either(f"{mean} [{low}, {high}]", mean),
            DASH if exact else Either(f"{step} [{below}, {above}]", step),
            f"{100 * record.metrics['r1']:.1f}",
            DASH if record.overlap10 is None else f"{100 * record.overlap10:.1f}",
            low,
            high,
            *((DASH, DASH, DASH) if exact else (step, below, above)),
            f"{record.scanned_bytes:g}",
            "yes" if pick else "",
            style="bold" if pick else None,
        )
    told = (
        "nothing is chosen: the fit has trained on the dev identities"
        if chosen is None
        else f"← fewest bytes that keep {keep} of fp32's mAP on dev; its accuracy is that on test"
    )
    notes = [f"same 10: share of float32's ten nearest that stay, %. {told}"]
    if any(record.data_kind == "synthetic" for record in records):
        notes.append(show.SYNTHETIC)
    table.caption = "\n".join(notes)
    return table


def time_table(searches: Sequence[SearchRecord]) -> Table:
    """Median milliseconds of one search by rows, memory at the most rows, and the exponent over rows."""
    from vireid.report.records.searches import search_times

    sizes = sorted({record.rows for record in searches})
    table = Table(f"One search on one core, ms ({searches[0].features} values, the best {searches[0].top})")
    table.add_column("library", "group")
    table.add_columns("storage", *(_rows(count) for count in sizes), "MB", "exponent", text=("storage",))
    order = list(dict.fromkeys(record.storage for record in searches))
    for times in sorted(
        search_times(searches), key=lambda times: (times.library != "numpy", order.index(times.storage))
    ):
        milliseconds = (times.ms(count) if times.is_measured(count) else None for count in sizes)
        size = times.gallery_bytes.get(sizes[-1])
        table.add_row(
            times.library,
            times.storage,
            *(DASH if value is None else f"{value:.{3 if value < 1 else 2}f}" for value in milliseconds),
            DASH if size is None else f"{size / 1e6:.1f}",
            DASH if times.exponent is None else f"{times.exponent:.2f}",
        )
    failed = [f"{r.library}, {r.storage}, {r.rows} rows: {r.reason}" for r in searches if r.status != "ok"]
    doubted = sum(bool(record.notes) for record in searches)
    notes = [f"MB: of {_rows(sizes[-1])} rows; exponent: slope of log time over log rows", *failed]
    if doubted:
        notes.append(f"the profiler doubts {doubted} of {len(searches)} measurements (`vireid results show`; --again)")
    table.caption = "\n".join(notes)
    return table


def _rows(count: int) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size} {letter}"
    return str(count)


def numbers(record: GalleryRecord | SearchRecord) -> Table:
    """A record's own numbers."""
    if record.kind == "search":
        return time_table([record])
    return accuracy_table(next(iter(_grouped([record]))), [record], None, "")
