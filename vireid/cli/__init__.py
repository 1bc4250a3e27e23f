"""The command line: thin. Every command parses, calls the library, prints; bad input is one message and exit code 2."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import vireid
from vireid.core.errors import UserError
from vireid.core.messages import printer
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.experiment.context import RunContext
    from vireid.experiment.progress import ProgressCallback
    from vireid.remote.copy import RemoteCopy
    from vireid.store import Store

# Options that ``vireid evaluate`` had for features files.
_OF_FEATURES = {"--rule", "--cmc", "--query-cam-array", "--protocol", "--mode", "--direction", "--shots", "--trials"}
_OF_FEATURES |= {"--split", "--regdb-split", "--normalize", "--no-normalize", "--rerank", "--variant", "--k1", "--k2"}
_OF_FEATURES |= {"--lambda", "--search"}


class Commands(TyperGroup):
    """The commands under their names of now and of before."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # of click, or of the copy that typer brings
        """As click's, with earlier spellings replaced."""
        return super().resolve_command(ctx, _spelt_as_now(args))


def _spelt_as_now(args: list[str]) -> list[str]:
    command, *rest = args
    if command == "loss-terms":
        before, now = "loss-terms", ["dev", "loss-terms"]
    elif command == "evaluate" and "--compare" in rest:
        before, now = "evaluate --compare", ["compare"]
        rest.remove("--compare")
    elif command == "evaluate" and any(_is_of_features(word) for word in rest):
        before, now = "evaluate FEATURES.npz", ["score"]
    else:
        return args
    remark = f"`vireid {before}` is called `vireid {' '.join(now)}` now"
    printer(stderr=True).print(remark, style="dim", soft_wrap=True)
    return [*now, *rest]


def _is_of_features(word: str) -> bool:
    option = word.partition("=")[0] if word.startswith("-") else None
    return option in _OF_FEATURES or word.endswith(".npz") or (option is None and _is_file(word))


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # too long for a name
        return False


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
_copies: list[RemoteCopy] = []  # of stores behind URLs that this command works on


def _store_folder(name: str | Path) -> Path:
    """The folder of a store, or of the copy of one behind a URL."""
    from vireid.remote.copy import is_url, open_copy

    if not is_url(name):
        return Path(name)
    with bars() as progress:
        _copies.append(open_copy(str(name), progress))
    return _copies[-1].root


StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        parser=_store_folder,
        metavar="FOLDER|URL",
        help="Where records, artefacts and rendered data go: a folder, or a URL such as s3://bucket/runs.",
        envvar="VIREID_STORE",
    ),
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
    for commands in (
        "choose",
        "data",
        "deploy",
        "external",
        "gallery",
        "models",
        "results",
        "robustness",
        "run",
        "score",
        "study",
    ):
        importlib.import_module(f"vireid.cli.{commands}")  # which adds them to `app`
    try:
        with _sent():
            app()
    except UserError as error:
        printer(stderr=True).print(f"error: {error}", style="bold red", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:  # commands end theirs by an exit code
        printer(stderr=True).print("interrupted while sending; the next command with this --store sends the rest")
        sys.exit(130)
    except SystemExit as leaving:
        if leaving.code == 130:
            printer(stderr=True).print("interrupted; the same command takes up where it stopped")
        raise


@contextmanager
def _sent() -> Iterator[None]:
    """Send what the block makes in copies of stores behind URLs, however it ends."""
    try:
        yield
    except BaseException as ending:
        if isinstance(ending, SystemExit) and not ending.code:  # how commands end well
            _send()
            raise
        try:
            _send()
        except UserError as error:  # beside what ended the block
            printer(stderr=True).print(str(error), soft_wrap=True)
        raise
    _send()


def _send() -> None:
    for copy in _copies:
        with bars() as progress:
            copy.push(progress)


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
    from vireid.experiment.context import RunContext
    from vireid.overrides import compose

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
    from vireid.experiment.images import RootNotSetError

    try:
        yield
    except RootNotSetError as error:
        raise UserError(
            f"run {run}: nothing says where its images lie, and they are not where they last were: add "
            "--root /path/to/the/unpacked/dataset"
        ) from error


def runs_named(
    arguments: list[str], store: Path, progress: ProgressCallback, *, default: bool = False
) -> list[RunContext]:
    """The runs of fits by their ids, and of one configuration by its overrides.

    Where nothing is named there is none, or with ``default`` that of the configuration without overrides.
    """
    from vireid.experiment.context import RunContext
    from vireid.experiment.reload import config_of_fit
    from vireid.overrides import compose

    records = opened(store)
    overrides = [argument for argument in arguments if "=" in argument]
    ids = [argument for argument in dict.fromkeys(arguments) if "=" not in argument]
    configs = [config_of_fit(records.find(run), [], None, records) for run in ids]
    configs += [compose(overrides)] if overrides or (default and not arguments) else []
    return [RunContext(config, records, progress) for config in configs]


def run_named(arguments: list[str], store: Path, progress: ProgressCallback) -> RunContext:
    """The run of one fit by its id, or of one configuration by its overrides, that without any where none is given.

    Raises:
        UserError: several fits, or a fit and overrides.
    """
    if len(arguments) > 1 and any("=" not in argument for argument in arguments):
        raise UserError(f"{' '.join(arguments)}: give the id of one fit, or key=value overrides of a configuration")
    (run,) = runs_named(arguments, store, progress, default=True)
    return run


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
