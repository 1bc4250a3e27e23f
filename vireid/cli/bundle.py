"""``vireid bundle``: models with everything that measures them on a device without the suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app
from vireid.cli.show import console
from vireid.core.messages import Table

if TYPE_CHECKING:
    from vireid.experiment.deploy.bundle import Bundled


@app.command()
def bundle(
    to: Annotated[Path, typer.Option("--to", help="Folder for the bundle, or a file that ends in .zip.")],
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE...]...",
            help="Ids of fits (`vireid results list`), and overrides of one configuration: of its fit if it was "
            "trained, else with initial weights.",
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="An ONNX file that vireid exported; repeatable.", show_default=False),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Pack models to be measured on a Raspberry Pi, a Jetson or an old laptop with Python, NumPy and ONNX Runtime."""
    from vireid.config import compose
    from vireid.experiment.deploy.bundle import bundle_step
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.store import Store

    words, place = target or [], Store(store)
    runs = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    configs = [config_of_fit(place.find(run), [], None, place) for run in dict.fromkeys(runs)]
    configs += [compose(overrides)] if overrides else []
    with bars() as progress:
        result = bundle_step(configs, files or [], place, to, progress)
    console.print(_table(result, to))
    for name in result.one_sided:
        console.print(
            f"{name}: the graph for infrared images, which queries need; visible ones have another", soft_wrap=True
        )
    if to.suffix == ".zip":
        console.print(f"on the device: unzip {to.name}, then see README.txt in {to.stem}/", soft_wrap=True)
    else:
        console.print(f"copy {to} to the device, then see README.txt in it", soft_wrap=True)


def _table(result: Bundled, to: Path) -> Table:
    table = Table(title=f"{to}: {result.size_bytes / 1e6:.1f} MB")
    for name in ("model", "weights", "MB", "mAP %"):
        table.add_column(name, justify="right" if name in ("MB", "mAP %") else "left")
    for model in result.models:
        known = model.accuracy[0] if model.accuracy else None
        table.add_row(
            model.name,
            "initial" if model.run is None else f"fit {model.run}",
            f"{model.bytes / 1e6:.1f}",
            "not known" if known is None else f"{100 * known.mAP:.1f}",
        )
    shown = (model.accuracy[0] for model in result.models if model.accuracy)
    protocols = list(dict.fromkeys(known.protocol + known.note for known in shown))
    table.caption = f"mAP: {' | '.join(protocols)}" if protocols else None
    return table
