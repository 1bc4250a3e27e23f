"""What commands share: whether an option was given or is a default, and the run that a command works on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vireid.core.errors import UserError
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.experiment.context import RunContext
    from vireid.store import Store


def opened(root: Path) -> Store:
    """The store in a folder; its schemas take a while to import, so that help and plans do without."""
    from vireid.store import Store

    return Store(root)


def writable(root: Path) -> Store:
    """The store in a folder, which is made where it does not exist.

    Raises:
        UserError: it cannot be written.
    """
    store = opened(root)
    store.prepare()
    return store


@contextmanager
def composed_run(overrides: Sequence[str], store: Path) -> Iterator[RunContext]:
    """The run of a configuration in a store, whose progress is shown for the time of the block."""
    from vireid.config import compose
    from vireid.experiment.context import RunContext

    config, records = compose(overrides), writable(store)
    with bars() as progress:
        yield RunContext(config, records, progress)


@contextmanager
def finished_run(
    run: str, store: Path, root: Path | None = None, protocols: Sequence[str] = ()
) -> Iterator[RunContext]:
    """Likewise of a fit there, named by the first digits of its id; ``root`` is where its images lie now."""
    from vireid.experiment.context import RunContext
    from vireid.experiment.reload import config_of_fit

    records = writable(store)
    config = config_of_fit(records.find(run), protocols, root, records)
    with root_option(run), bars() as progress:
        yield RunContext(config, records, progress)


@contextmanager
def root_option(run: str) -> Iterator[None]:
    """For commands that name a run: images that are missing are asked for by their option ``--root``.

    Raises:
        UserError: instead of the remedy for configurations.
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
