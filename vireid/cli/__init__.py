"""The command line: thin. Every command parses, calls the library, prints; bad input is one message and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import vireid
from vireid.core.errors import UserError

app = typer.Typer(
    name="vireid",
    help="Benchmark and ablation suite for visible-infrared person re-identification.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Group choices (model=idkl) and single keys (recipe.batch_size=32); `vireid config` shows all.",
        show_default=False,
    ),
]
StoreOption = Annotated[
    Path, typer.Option("--store", help="Where records, artefacts and rendered data go.", envvar="VIREID_STORE")
]
DEFAULT_STORE = Path("results/local")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"vireid {vireid.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; the exit code is 0 for success, 1 for a failed run, 2 for bad input."""
    sys.path.insert(0, str(Path.cwd()))  # `module:Class` plug-ins are found where the user stands
    from vireid.cli import (  # noqa: F401 - each adds its commands to `app`
        audit,
        bundle,
        captions,
        choose,
        data,
        evaluate,
        export,
        imports,
        models,
        quantise,
        results,
        run,
        study,
        trunk,
    )

    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
        sys.exit(2)
    except SystemExit as leaving:
        if leaving.code == 130:
            Console(stderr=True).print("interrupted; the same command takes up where it stopped")
        raise
