"""``vireid export``: a fit or a configuration as ONNX, OpenVINO and safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app
from vireid.cli.show import console
from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import Table

if TYPE_CHECKING:
    from vireid.experiment.deploy.export import Export
    from vireid.profiling.export.write import Format


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="Folder for the files; made where it does not exist.")],
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE...]",
            help="Id of a fit (`vireid results list`), or a configuration: of its fit if it was trained, else with "
            "initial weights.",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="onnx|openvino|safetensors",
            help="Repeatable; all three by default.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write what is deployed of a model for other runtimes, each file checked against PyTorch before it is kept."""
    from vireid.config import compose
    from vireid.experiment.deploy.export import export_step
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.store import Store

    words, place = target or [], Store(store)
    if any("=" not in word for word in words):
        if len(words) > 1:
            raise UserError(
                f"vireid export {' '.join(words)}: give the id of one fit, or key=value overrides of a configuration"
            )
        settings = config_of_fit(place.find(words[0]), [], None, place)
    else:
        settings = compose(words)
    chosen = _formats(formats or [])
    with bars() as progress:
        result = export_step(settings, place, to, chosen, progress)
    console.print(_table(result, to))


def _formats(names: list[str]) -> list[Format]:
    """The formats of these names, each once; all when none is named."""
    from vireid.profiling.export.write import FORMATS

    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format {name}: unknown format{did_you_mean(name, FORMATS)}")
    return [format for format in FORMATS if format in names or not names]


def _table(result: Export, folder: Path) -> Table:
    weights = "initial weights" if result.run is None else f"fit {result.run}"
    table = Table(title=f"{folder}: {weights}")
    table.add_column("file", no_wrap=True)
    table.add_column("MB", justify="right")
    table.add_column("difference to eager", justify="right")
    for file in result.files:
        same = file.format == "safetensors"
        table.add_row(file.path.name, f"{file.size_bytes / 1e6:.1f}", "none" if same else f"{file.difference:.1e}")
    table.caption = "largest error of any value, relative to the feature's root mean square; .xml comes with its .bin"
    return table
