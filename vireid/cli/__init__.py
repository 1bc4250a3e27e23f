"""The command line: thin. Every command parses, calls the library, prints; bad input is one message and exit code 2."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import vireid
from vireid.cli.aliases import Commands
from vireid.core.errors import UserError
from vireid.core.messages import printer

app = typer.Typer(
    name="vireid",
    cls=Commands,
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
    # `module:Class` plug-ins are found where the user stands: last, here and in every process that is started from
    # here, so that a statistics.py or logging.py there does not stand in for the library's.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    os.environ["PYTHONSAFEPATH"] = "1"
    from vireid.cli import (  # noqa: F401 - each adds its commands to `app`
        choose,
        data,
        deploy,
        external,
        models,
        results,
        run,
        score,
        study,
    )

    try:
        app()
    except UserError as error:
        printer(stderr=True).print(f"error: {error}", style="bold red", soft_wrap=True)
        sys.exit(2)
    except SystemExit as leaving:
        if leaving.code == 130:
            printer(stderr=True).print("interrupted; the same command takes up where it stopped")
        raise
