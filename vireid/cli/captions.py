"""Commands that describe a dataset's images: captions by BLIP, rephrasings by a language model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vireid.cli.data import data
from vireid.cli.show import console

if TYPE_CHECKING:
    from vireid.core.types import Modality


Spectrum = Literal["rgb", "ir"]
Root = Annotated[Path, typer.Argument(help="Folder of a dataset.")]
ModalityOption = Annotated[Spectrum, typer.Option(help="Visible (rgb) or infrared (ir) images.")]
CaptionerOption = Annotated[str, typer.Option(help="Folders are Text/<captioner>_RGB and Text/<captioner>_IR.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
BatchOption = Annotated[int, typer.Option(help="At a time; decides nothing but speed for captions.", min=1)]


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
    from vireid.core.errors import UserError
    from vireid.data.captioning.blip import Captioner
    from vireid.data.captioning.run import caption_images, finetuning_captions
    from vireid.experiment.progress import bars

    if (finetune is None) != (keep is None):
        raise UserError("--finetune and --keep go together: what to learn from, and where the trained model is kept")
    spectrum, place = _modality(modality), _device(device)
    ready = keep is not None and (keep / "config.json").is_file()
    with bars() as progress:
        blip = Captioner(str(keep) if ready else model, prompt=prompt, device=place)
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
    from vireid.data.captioning.rephrase import Rephraser
    from vireid.data.captioning.run import rephrase_captions
    from vireid.experiment.progress import bars

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


def _modality(spectrum: Spectrum) -> Modality:
    from vireid.core.types import Modality

    return Modality.VISIBLE if spectrum == "rgb" else Modality.INFRARED


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
