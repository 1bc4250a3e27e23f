"""The command that makes a trunk of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app
from vireid.cli.show import console


@app.command()
def trunk(
    run: Annotated[str, typer.Argument(help="Id of a fit on visible images alone, or its first digits.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder; by default the suite's own, results/trunks.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a fit's ResNet as a trunk, which `model.pretrained=trunk` finds."""
    from vireid.experiment.trunk import write_trunk
    from vireid.models.trunk import TRUNKS
    from vireid.store import Store

    place = Store(store)
    file = write_trunk(place.find(run), place, TRUNKS if to is None else to)
    console.print(f"trunk: {file}", soft_wrap=True)
