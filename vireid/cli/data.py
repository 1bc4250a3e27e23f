"""Commands on data: render a synthetic dataset, check one, draw and report on it, caption and rephrase."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from vireid.cli import DEFAULT_STORE, StoreOption, app, composed_run
from vireid.cli.show import console
from vireid.core.errors import UserError
from vireid.core.messages import counted
from vireid.core.table import Cell, Either, Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.core.types import Modality

data = typer.Typer(help="Render, check and look at datasets.", no_args_is_help=True)
app.add_typer(data, name="data")

Spectrum = Literal["rgb", "ir"]
Root = Annotated[Path, typer.Argument(help="Folder of a dataset.")]
ModalityOption = Annotated[Spectrum, typer.Option(help="Visible (rgb) or infrared (ir) images.")]
CaptionerOption = Annotated[str, typer.Option(help="Folders are Text/<captioner>_RGB and Text/<captioner>_IR.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
BatchOption = Annotated[int, typer.Option(help="At a time; decides nothing but speed for captions.", min=1)]


@data.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; must be new or hold the same data.")],
    layout: Annotated[Literal["sysu", "regdb", "llcm"], typer.Option(help="On-disk layout.")] = "sysu",
    ids: Annotated[int, typer.Option(help="Identities: 60 % training, 15 % validation, 25 % test.", min=4)] = 100,
    seed: Annotated[int, typer.Option(help="Render seed.", min=0)] = 0,
    height: Annotated[int, typer.Option(help="Image height, pixels.", min=32)] = 288,
    width: Annotated[int, typer.Option(help="Image width, pixels.", min=16)] = 144,
    workers: Annotated[
        int | None, typer.Option(help="Processes; all cores by default. Decides no pixel.", min=1)
    ] = None,
) -> None:
    """Render a synthetic dataset: real JPEG files in the true layout of SYSU-MM01, RegDB or LLCM."""
    from vireid.data.synthetic.config import SyntheticConfig, split_identities
    from vireid.data.synthetic.dataset import write_dataset

    config = SyntheticConfig(layout=layout, seed=seed, height=height, width=width, **split_identities(ids))
    with bars() as progress:
        root = write_dataset(
            out, config, workers=workers or os.cpu_count() or 1, progress=partial(progress, "render images")
        )
    console.print(f"{layout} layout, {counted(ids, 'identity', 'identities')}: {root}", soft_wrap=True)
    console.print(f"check it: vireid data check {root}", soft_wrap=True)


@data.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder of a dataset.")],
    dataset: Annotated[
        str | None, typer.Option(help="sysu, regdb or llcm; detected from the layout by default.")
    ] = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every image, not a sample.")] = False,
    credibility: Annotated[
        Path | None, typer.Option(help="Rendered data only: write the credibility figures to this JSON file.")
    ] = None,
) -> None:
    """Compare a dataset with the literature's counts and look at its files.

    Exit code 1 where counts differ from the literature's, 2 where a result would be wrong or refused.
    """
    from vireid.data.check import check as check_dataset

    with bars() as progress:
        report = check_dataset(root, dataset, decode=decode, progress=partial(progress, "look at images"))
    table = Table(title=f"{report.dataset} in {report.root}" + (f" ({report.synthetic})" if report.synthetic else ""))
    table.add_columns("what", "found", "expected", "verdict", text=("what", "verdict"))
    table.add_column("note", "note")
    for row in report.rows:
        mark = {True: Text("ok", "green"), False: Text("differs", "red"), None: Text()}[row.ok]
        table.add_row(row.name, _number(row.count), _number(row.expected), mark, row.note)
    console.print(table)
    for finding in report.findings:
        label, style = ("problem", "red") if finding.wrong else ("note", "dim")
        console.print(f"{label}: {finding}", style=style, soft_wrap=True)
    if credibility is not None:
        _write_credibility(root, credibility)
    if not report.ok:
        raise typer.Exit(2 if report.wrong else 1)


@data.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")],
    layout: Annotated[Literal["sysu", "regdb", "llcm"], typer.Option(help="On-disk layout.")] = "sysu",
    ids: Annotated[int, typer.Option(help="Identities of the dataset.", min=4)] = 100,
    seed: Annotated[int, typer.Option(help="Render seed.", min=0)] = 0,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Instead: one person under all corruptions × severities.")
    ] = False,
) -> None:
    """Draw a contact sheet of a rendered dataset: identities × cameras, both modalities. Needs nothing on disk."""
    from vireid.data.corruptions.sheet import corruption_sheet
    from vireid.data.synthetic.config import SyntheticConfig, split_identities
    from vireid.data.synthetic.contact_sheet import contact_sheet

    config = SyntheticConfig(layout=layout, seed=seed, **split_identities(ids))
    if corruptions:
        corruption_sheet(config, out)
    else:
        contact_sheet(config, out)
    console.print(f"contact sheet: {out}", soft_wrap=True)


@data.command()
def report(
    chosen: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Which images: a folder, or overrides such as data=sysu data.root=/data/SYSU-MM01.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; by default one of the store's datasets/.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", help="Notebook in notebooks/, or a path.", show_default=True)
    ] = "dataset",
    formats: Annotated[
        str, typer.Option("--formats", help="Kept beside the page, of svg,pdf,png,csv; all but png by default.")
    ] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a page on the images themselves: a contact sheet, counts beside the literature's, distributions."""
    from vireid.cli.study import find_template
    from vireid.explain.dataset import overrides_of, render_dataset
    from vireid.report.copies import kinds_of

    kinds = [part.strip() for part in formats.split(",") if part.strip()]
    kinds_of(kinds)  # an unknown one is told before anything is read
    notebook, overrides = find_template(template), overrides_of(chosen)
    with composed_run(overrides, store) as run:
        page = render_dataset(run, overrides, notebook, out, kinds)
    console.print(f"report: {page}", soft_wrap=True)


@data.command()
def caption(
    root: Root,
    modality: ModalityOption,
    model: Annotated[
        str, typer.Option(help="Folder or hub name of a BLIP captioning model.")
    ] = "Salesforce/blip-image-captioning-base",
    captioner: CaptionerOption = "Blip",
    prompt: Annotated[str, typer.Option(help="Words that every caption continues.")] = "",
    finetune: Annotated[
        Path | None, typer.Option(help="Caption file (path → description) to train the captioner on first.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for the fine-tuned model; taken up where it is there already.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the captions of --finetune.", min=1)] = 5,
    lr: Annotated[float, typer.Option(help="Learning rate of --finetune.", min=0.0)] = 1e-5,
    seed: Annotated[int, typer.Option(help="Of --finetune.", min=0)] = 0,
    batch: BatchOption = 16,
    device: DeviceOption = "auto",
) -> None:
    """Describe every image of a modality that has no caption yet; a killed run takes up where it stopped."""
    from vireid.data.captioning.generators import Captioner
    from vireid.data.captioning.run import caption_images, finetuning_captions

    if (finetune is None) != (keep is None):
        raise UserError("--finetune and --keep go together: what to learn from, and where the trained model is kept")
    spectrum = _modality(modality)
    ready = keep is not None and (keep / "config.json").is_file()
    with bars() as progress:
        blip = Captioner(str(keep) if ready else model, prompt=prompt, device=_device(device))
        if finetune is not None and keep is not None and not ready:
            learned = finetuning_captions(root, spectrum, finetune)
            report = partial(progress, f"learn from {len(learned)} captions")
            losses = blip.finetune(root, learned, epochs=epochs, lr=lr, batch=batch, seed=seed, progress=report)
            blip.save(keep)
            console.print(f"mean loss per epoch: {', '.join(f'{loss:.3f}' for loss in losses)}; model: {keep}")
        file = caption_images(
            root,
            spectrum,
            captioner,
            partial(blip.describe, root),
            {"model": str(keep or model), "prompt": prompt, "tokens": blip.tokens, "beams": blip.beams},
            batch=batch,
            progress=partial(progress, "describe images"),
        )
    console.print(f"captions: {file}", soft_wrap=True)


@data.command()
def rephrase(
    root: Root,
    modality: ModalityOption,
    model: Annotated[str, typer.Option(help="Folder or hub name of a causal language model.")] = "lmsys/vicuna-7b-v1.5",
    captioner: CaptionerOption = "Blip",
    temperature: Annotated[float, typer.Option(help="Of the sampling; 0 takes the likeliest word.", min=0.0)] = 0.7,
    seed: Annotated[int, typer.Option(help="Of the sampling.", min=0)] = 0,
    batch: Annotated[int, typer.Option(help="Captions at a time; the sampling depends on it.", min=1)] = 16,
    device: DeviceOption = "auto",
) -> None:
    """Say every caption in other words; infrared ones stay free of colours. A killed run takes up where it stopped."""
    from vireid.core.types import Modality
    from vireid.data.captioning.generators import Rephraser
    from vireid.data.captioning.run import rephrase_captions

    spectrum = _modality(modality)
    with bars() as progress:
        author = Rephraser(
            model,
            colours=spectrum is Modality.VISIBLE,
            temperature=temperature,
            seed=seed,
            device=_device(device),
        )
        file = rephrase_captions(
            root,
            spectrum,
            captioner,
            lambda number, captions: author.rephrase(captions, number),
            {"model": model, "temperature": temperature, "seed": seed, "instruction": author.instruction},
            batch=batch,
            progress=partial(progress, "rephrase captions"),
        )
    console.print(f"rephrasings: {file}", soft_wrap=True)


def _number(value: int | None) -> Cell:
    return "" if value is None else Either(f"{value:,}", str(value))


def _write_credibility(root: Path, out: Path) -> None:
    from vireid.data.synthetic.credibility import credibility_of_dataset
    from vireid.store import write_atomically

    figures = credibility_of_dataset(root)
    content = {name: figure.model_dump() for name, figure in figures.items()}
    write_atomically(out, json.dumps(content, indent=1) + "\n")
    table = Table(title="What identifies a person here, and what does not (rank-1, %)")
    table.add_columns("shortcut", "rank-1", "chance", "queries", "gallery", text=("shortcut",))
    for name, figure in figures.items():
        values = (f"{100 * figure.rank1:.1f}", f"{100 * figure.chance:.1f}", str(figure.queries), str(figure.gallery))
        table.add_row(name, *values)
    console.print(table)
    console.print(f"credibility: {out}", soft_wrap=True)


def _modality(spectrum: Spectrum) -> Modality:
    from vireid.core.types import Modality

    return Modality.VISIBLE if spectrum == "rgb" else Modality.INFRARED


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
