"""Options that were given, told from defaults: one that would be ignored is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import typer

from vireid.core.errors import UserError


@contextmanager
def root_option(run: str) -> Iterator[None]:
    """For commands that name a run: images that are not found are asked for by their option ``--root``.

    Raises:
        UserError: in the place of the remedy for configurations.
    """
    from vireid.experiment.data import RootNotSetError

    try:
        yield
    except RootNotSetError as error:
        raise UserError(
            f"run {run}: nothing says where its images lie, and they are not where they last were: add "
            "--root /path/to/the/unpacked/dataset"
        ) from error


def given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter was given on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(ctx: typer.Context, names: Iterable[str], hint: str, flags: Mapping[str, str] | None = None) -> None:
    """Refuse parameters that mean nothing here; ``flags`` names those whose option is called otherwise.

    Raises:
        UserError: ``--option hint`` for the first that was given.
    """
    for name in names:
        if given(ctx, name):
            raise UserError(f"{(flags or {}).get(name, '--' + name.replace('_', '-'))} {hint}")
