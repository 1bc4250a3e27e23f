"""``vireid quantise``: a trained fit as int8 files, chosen on dev and evaluated as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app
from vireid.cli.options import root_option
from vireid.cli.show import console, deployed_table
from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import Table

if TYPE_CHECKING:
    from vireid.experiment.deploy.quantise import Quantised


@app.command()
def quantise(
    run: Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the files; made where it does not exist.")],
    runtimes: Annotated[
        list[str] | None,
        typer.Option("--runtime", metavar="onnxruntime|openvino", help="Repeatable; both by default."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            help="A setting to compare, such as '{activations: asymmetric, ranges: percentile}'; repeatable. Without "
            "any, three or four that are worth it.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Quantise a trained fit to int8: compare settings on dev, keep the nearest to it, evaluate that very file."""
    from vireid.experiment.deploy.quantise import CANDIDATES, quantise_step
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.store import Store

    for name in runtimes or []:
        if name not in CANDIDATES:
            raise UserError(f"--runtime {name}: quantises nothing{did_you_mean(name, CANDIDATES)}")
    place = Store(store)
    place.prepare()
    config = config_of_fit(place.find(run), [], root, place)
    given = [_mapping(text) for text in settings or []]
    with root_option(run), bars() as progress:
        found = quantise_step(config, place, to, list(dict.fromkeys(runtimes or CANDIDATES)), given, progress)
    for quantised in found:
        console.print(_candidates(quantised))
        console.print(deployed_table(quantised.records))
        for file in quantised.files:
            console.print(f"{file}: {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


def _mapping(text: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--setting '{text}': not YAML: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"--setting '{text}': give a mapping, such as '{{activations: asymmetric}}'")
    return data


def _candidates(quantised: Quantised) -> Table:
    """What was compared; the one that was kept is marked."""
    artefact = quantised.records[0].artefact
    assert artefact is not None
    table = Table(title=f"{quantised.runtime.name}, int8: settings on {quantised.candidates[0]['split']}")
    for name in ("setting", "cosine", "top-10 overlap", "mAP %"):
        table.add_column(name, justify="left" if name == "setting" else "right")
    for candidate in quantised.candidates:
        kept = candidate["cosine"] == artefact.cosine
        words = ", ".join(f"{key} {value}" for key, value in candidate["quantisation"].items()) or "defaults"
        table.add_row(
            f"{words} ← kept" if kept and len(quantised.candidates) > 1 else words,
            f"{candidate['cosine']:.5f}",
            f"{candidate['overlap10']:.3f}",
            f"{100 * candidate['mAP']:.1f}",
            style="bold" if kept else None,
        )
    table.caption = "cosine and overlap: with the trained model's features in PyTorch float32"
    return table
