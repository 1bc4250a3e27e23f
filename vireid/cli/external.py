"""Commands on other people's files: import a checkpoint, audit a model, compare loss terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, opened, refuse, writable
from vireid.cli.show import SYNTHETIC, console, evaluation_table, remark
from vireid.core.errors import UserError
from vireid.core.messages import DASH, counted
from vireid.core.table import Either, Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.evaluation.protocols import ProtocolConfig
    from vireid.external.audit import Reading
    from vireid.models.importers.load import Imported

dev = typer.Typer(help="For developers: compare with other implementations.", no_args_is_help=True)
app.add_typer(dev, name="dev")
ArchOption = Annotated[
    str,
    typer.Option(
        "--arch",
        help="Public implementation: idkl, idkl_fork, agw, iv_reid, caj, deen, deen_regdb, tvi_lfm or tvi_lfm_base.",
    ),
]
Dataset = Literal["sysu", "regdb", "llcm"]
OF_CHECKPOINTS = ("data", "split", "regdb_split", "height", "width")
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"
COLUMNS = ("r1", "r10 dedup", "r10 plain", "mAP", "mINP")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="State dict of the public code (.pth or .safetensors).")],
    arch: ArchOption,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Images to meet it with, such as data=sysu data.root=/path/to/SYSU-MM01: it is kept in the store as a "
            "fit, evaluated under their protocols, and audit, export, quantise, bundle and choose take its id.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory for the model's weights and its model.json.")
    ] = None,
    embed: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--embed",
            metavar="IN.npz OUT.npz",
            help="Embed array 'images' (N×3×H×W, normalised) of IN into array 'embedding' (N×2048) of OUT: the test "
            "feature after its neck, not L2-normalised. Array 'modality' (N; 0 visible, 1 infrared) for agw.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Read a public implementation's checkpoint strictly, say what it holds, and keep or run it as our model.

    vireid import FILE --arch deen data=llcm data.root=/path/to/LLCM
    """
    from vireid.external.audit import embed_file, save_imported
    from vireid.models.importers.load import import_state

    imported = import_state(file, arch)
    console.print(_summary(imported, file, arch))
    if output is not None:
        save_imported(imported, file, arch, output)
        console.print(f"model: {output}", soft_wrap=True)
    if embed is not None:
        count, width = embed_file(imported.model, *embed)
        console.print(f"{counted(count, 'embedding')} of {width} values: {embed[1]}", soft_wrap=True)
    if overrides:
        _as_fit(imported, file, arch, overrides, store)


def _as_fit(imported: Imported, file: Path, arch: str, overrides: list[str], store: Path) -> None:
    """Keep an imported model in the store, evaluate it, and print its scores and its id."""
    from vireid.experiment.context import RunContext
    from vireid.experiment.fit import evaluate_step
    from vireid.experiment.imported import compose_images, import_checkpoint

    config, records = compose_images(overrides), writable(store)
    with bars() as progress:
        run = import_checkpoint(RunContext(config, records, progress), imported, file, arch)
        evaluations = evaluate_step(run)
    console.print(evaluation_table(evaluations))
    if config.data.split == "dev" and run.fit.data_kind == "real":
        remark("dev are training identities: released weights were trained on them, so these scores are no test")
    console.print(f"fit {run.ids.fit}: {run.directory}", soft_wrap=True)


@dev.command("loss-terms")
def loss_terms(
    file: Annotated[Path, typer.Argument(help="Arrays: labels, infrared, features and logits (.npz).")],
    arch: ArchOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Evaluate the loss terms of an architecture on given arrays, to compare with another implementation."""
    from vireid.external.features import loss_terms_of_file

    terms = loss_terms_of_file(file, arch)
    if as_json:
        typer.echo(json.dumps(terms, indent=1))
        return
    table = Table(title=f"Loss terms of {arch}, unweighted")
    table.add_columns("term", "value", text=("term",))
    for name, value in terms.items():
        table.add_row(name, f"{value:.8g}")
    console.print(table)


@app.command()
def audit(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            help="Id of a fit, a state dict of public code (with --arch), or a folder of `vireid import --output`.",
        ),
    ],
    arch: Annotated[str | None, typer.Option(help="Whose code wrote the checkpoint, as of `vireid import`.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where the dataset lies.")] = None,
    data: Annotated[
        Dataset | None, typer.Option(help="The dataset; detected from the layout in --root by default.")
    ] = None,
    split: Annotated[
        Literal["test", "dev"], typer.Option(help="Of a checkpoint; a run keeps the split that it was made with.")
    ] = "test",
    regdb_split: Annotated[int | None, typer.Option(help="Split of RegDB that the checkpoint was trained on.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the dataset's configuration by default.", min=32)] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.", min=16)] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file; beside the run, or in the store, by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions) instead of a table.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate one model under every protocol of its dataset, raw and normalised, plain and re-ranked, in one table."""
    from vireid.external import audit as audits
    from vireid.store import write_atomically

    path = Path(model)
    kept = audits.run_at(path)
    records, model = (opened(store), model) if kept is None else kept
    records.prepare()
    with bars() as progress:
        if kept is None and path.exists():
            if root is None:
                raise UserError(f"checkpoint {model}: --root is needed, the folder of the dataset to evaluate on")
            audited = audits.features_of_checkpoint(
                path,
                arch,
                root,
                records,
                dataset=data,
                split=split,
                regdb_split=regdb_split,
                height=height,
                width=width,
                progress=progress,
            )
        else:
            if arch is not None:
                raise UserError(f"checkpoint {model}: no such file (--arch {arch} needs a state dict)")
            refuse(ctx, OF_CHECKPOINTS, f"is for a checkpoint; run {model} keeps what it was made with")
            audited = audits.features_of_run(model, root, records, progress)
        readings = audits.audit(audited.features, audited.index, audited.layout, split=audited.split, progress=progress)
    table, file = audits.to_table(readings), csv or audited.csv
    write_atomically(file, table.to_csv(index=False))
    if as_json:
        typer.echo(json.dumps(json.loads(table.to_json(orient="records")), indent=1, ensure_ascii=False))
        return
    console.print(_audit_table(f"{audited.title} · {audited.split}", readings, audited.synthetic))
    for line in [*_span(readings), f"table: {file}"]:
        remark(line)


def _summary(imported: Imported, file: Path, arch: str) -> Table:
    """Parameters of the file by role, and what of it never runs."""
    table = Table(title=f"{file.name}: {arch}, {imported.num_classes} classes")
    table.add_columns("part", "parameters", text=("part",))
    for role, count in imported.parameters.items():
        table.add_row(role.replace("_", "-"), Either(f"{count:,}", str(count)))
    table.add_section()
    for part, count in imported.dead.items():
        table.add_row(f"dead: {part}", Either(f"{count:,}", str(count)))
    total = sum(imported.parameters.values())
    table.caption = f"{total / 1e6:.1f} M in all; dead: never run, or never trained"
    return table


def _audit_table(title: str, readings: Sequence[Reading], synthetic: bool) -> Table:
    """Readings in sections by protocol; bold what the protocol prescribes, and footnotes on whose code reads so."""
    table = Table(title)
    table.add_column("protocol", "group")
    table.add_columns("%", *COLUMNS, text=("%",))
    known = list(dict.fromkeys(reading.known for reading in readings if reading.known))
    for heading, section in groupby(readings, key=lambda reading: _heading(reading.config)):
        for reading in section:
            label = f"{'L2' if reading.config.normalise else 'raw'}{_reranked(reading.config)}"
            label += " *" if reading.prescribed else ""
            label += f" {MARKS[known.index(reading.known)]}" if reading.known else ""
            style = "bold" if reading.prescribed else None
            table.add_row(heading, Either(f"  {label}", label), *_cells(reading), style=style)
    notes = ["L2, raw: features normalised or not; R1 is the same with either CMC", "* what the protocol prescribes"]
    notes += [f"{MARKS[number]} read so by the {code}" for number, code in enumerate(known)]
    if not all(reading.results for reading in readings):
        notes.append(f"{DASH}: too few images to re-rank")
    if synthetic:
        notes.append(SYNTHETIC)
    table.caption = "\n".join(notes)
    return table


def _task(config: ProtocolConfig) -> str:
    """Mode or direction: readings of different tasks are no conventions of each other."""
    return str(config.mode if len(config.spec.cameras) > 1 else config.direction)


def _heading(config: ProtocolConfig) -> str:
    shots = f" · {config.shots}-shot" if len(config.spec.shots) > 1 else ""
    return f"{config.name} · {_task(config)}{shots}"


def _reranked(config: ProtocolConfig) -> str:
    return "" if config.reranking.name == "none" else f", {config.reranking.name}"


def _cells(reading: Reading) -> list[str]:
    if not reading.results:
        return [DASH] * len(COLUMNS)
    dedup, plain = (reading.results[cmc].metrics for cmc in ("dedup", "plain"))
    values = (dedup["r1"], dedup["r10"], plain["r10"], dedup["mAP"], dedup["mINP"])
    return [f"{100 * value:.2f}" for value in values]


def _span(readings: Sequence[Reading]) -> list[str]:
    """One line per task: the lowest and the highest reading of the same weights."""
    lines = []
    for task in dict.fromkeys(_task(reading.config) for reading in readings):
        of_task = [reading for reading in readings if reading.results and _task(reading.config) == task]
        for metric in ("r1", "mAP"):
            ordered = sorted(of_task, key=lambda reading: reading.results["dedup"].metrics[metric])
            low, high = (
                f"{100 * end.results['dedup'].metrics[metric]:.1f} ({_convention(end.config)})"
                for end in (ordered[0], ordered[-1])
            )
            lines.append(f"{task}: {metric} of the same weights reads from {low} to {high}")
    return lines


def _convention(config: ProtocolConfig) -> str:
    shots = f" {config.shots}-shot" if len(config.spec.shots) > 1 else ""
    return f"{config.name}{shots}, {'L2' if config.normalise else 'raw'}{_reranked(config)}"
