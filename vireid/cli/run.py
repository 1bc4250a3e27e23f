"""Commands on single runs: config, train, evaluate, profile, explain, trunk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vireid.cli import (
    DEFAULT_STORE,
    Overrides,
    StoreOption,
    app,
    composed_run,
    finished_run,
    opened,
    run_named,
    show,
    writable,
)
from vireid.cli import layers as layer_view
from vireid.core.errors import UserError
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.experiment.context import RunContext
    from vireid.experiment.progress import ProgressCallback

Run = Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")]
Root = Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")]


@app.command()
def config(
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema instead.")] = False,
) -> None:
    """Print the resolved configuration, or its JSON Schema."""
    import yaml

    from vireid.config import ExperimentConfig
    from vireid.overrides import choices, compose, group_names

    if schema:
        typer.echo(json.dumps(ExperimentConfig.model_json_schema(), indent=2))
        return
    settings = compose(overrides or []).model_dump(mode="json")
    for group in group_names():
        typer.echo(f"# {group}: {' | '.join(choices(group))}")
    typer.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


@app.command()
def train(
    overrides: Overrides = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print ids and metrics (fractions) as JSON instead of tables.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Train one configuration, then evaluate it under its protocols. Finished work is reused, a broken run resumed."""
    from vireid.core.threads import wait_patiently

    wait_patiently()  # before anything imports torch
    from vireid.experiment.deploy.evaluate import deployed_step
    from vireid.experiment.fit import evaluate_step, fit_step

    with composed_run(overrides or [], store) as context:
        fit = fit_step(context)
        evaluations = evaluate_step(context)
        deployed = deployed_step(context)
    if as_json:
        content = {
            "fit": fit.id,
            "seed": fit.seed,
            "directory": str(context.directory),
            "seconds": fit.seconds,
            "data_kind": fit.data_kind,
            "evaluations": [show.evaluation_json(evaluation) for evaluation in evaluations],
            "deployed": [show.evaluation_json(evaluation) for evaluation in deployed],
        }
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    show.console.print(show.evaluation_table(evaluations))
    if deployed:
        show.console.print(show.deployed_table(deployed))
    show.console.print(f"fit {fit.id}: {context.directory}", soft_wrap=True)


@app.command()
def evaluate(
    run: Annotated[
        str,
        typer.Argument(help="Id of a fit (`vireid results list`), or its first digits.", show_default=False),
    ] = "",
    protocols: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROTOCOL]...",
            help="As in a config, e.g. '{name: sysu/official, mode: indoor, shots: 10}'; those of the fit's dataset "
            "when none is given.",
        ),
    ] = None,
    root: Root = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions) instead of a table.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate a finished fit under further protocols; nothing is trained again.

    vireid evaluate RUN '{name: sysu/official, mode: indoor}'

    For features of your own see `vireid score`, for two runs side by side `vireid compare`.
    """
    from vireid.experiment.fit import evaluate_step

    if not run:
        raise UserError("nothing to evaluate: give the id of a fit; `vireid score` takes features of your own")
    with finished_run(run, store, root, protocols or []) as context:
        evaluations = evaluate_step(context)
    if as_json:
        values = [show.evaluation_json(evaluation) for evaluation in evaluations]
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
    else:
        show.console.print(show.evaluation_table(evaluations))


@app.command()
def transfer(
    run: Run,
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...", help="Images to meet it with, such as data=regdb data.root=/path/to/RegDB."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions) instead of a table.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate a finished fit on other data than it was trained on, test identities by default; nothing is trained.

    It is kept as a fit of its own, whose protocol cards name the transfer and which export, quantise and bundle take.
    """
    from vireid.experiment.context import RunContext
    from vireid.experiment.fit import evaluate_step
    from vireid.experiment.imported import compose_images, transfer_fit

    images = compose_images(overrides)
    with finished_run(run, store) as trained:
        moved = transfer_fit(RunContext(images, trained.store, trained.progress), trained)
        evaluations = evaluate_step(moved)
    if as_json:
        values = [show.evaluation_json(evaluation) for evaluation in evaluations]
        typer.echo(json.dumps({"fit": moved.ids.fit, "evaluations": values}, indent=1, ensure_ascii=False))
        return
    show.console.print(show.evaluation_table(evaluations))
    show.console.print(f"fit {moved.ids.fit}: {moved.directory}", soft_wrap=True)


@app.command()
def profile(
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [KEY=VALUE]...",
            help="Id of a fit (`vireid results list`) with profile and runtime alone, or a configuration.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    stages: Annotated[
        bool, typer.Option("--stages", help="Also time a whole query, from a JPEG file to a ranked list.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Measure anew what was noisy, or beside other work; the new record replaces the one before.",
        ),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also time each layer, beneath the machine's measured roofs.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the time of each block as PNG, SVG or PDF; with --layers.")
    ] = None,
) -> None:
    """Count parameters and MACs of a configuration and measure its latency here. Needs no data and no training."""
    from vireid.experiment.cost.layers import layers_step
    from vireid.experiment.cost.profile import cost_step, measure_latencies
    from vireid.profiling.config import StagesConfig

    if picture is not None and not layers:
        raise UserError(f"--picture {picture} draws layers: add --layers")
    if picture is not None:
        layer_view.check_picture(picture)
    writable(store)
    with bars() as progress:
        context = _to_profile(target or [], store, progress)
        if stages and context.config.profile.stages is None:
            asked = context.config.profile.model_copy(update={"stages": StagesConfig()})
            context = replace(context, config=context.config.model_copy(update={"profile": asked}))
        cost = cost_step(context)
        latencies = measure_latencies(context, again=again)
        profiles = layers_step(context) if layers else []
    show.console.print(show.cost_table(cost))
    queries = [record for record in latencies if record.stages]
    for table in show.latency_tables(record for record in latencies if record not in queries):
        show.console.print(table)
    for record in queries:
        show.console.print(show.stages_table(record))
        show.remark(show.stages_settings(record))
    for line in show.latency_remarks(latencies):
        show.remark(line)
    if any(record.notes for record in latencies):
        show.remark("the same command with --again measures anew what was doubted")
    for one in profiles:
        if one.status == "ok":
            show.console.print(layer_view.layers_table(one, terminal=show.console.is_terminal))
        for line in layer_view.remarks(one):
            show.remark(line)
    if picture is not None:
        layer_view.write_picture(profiles, picture)
        show.remark(f"picture: {picture}", soft_wrap=True)
    if "failed" in {*(record.status for record in latencies), *(one.status for one in profiles)}:
        raise typer.Exit(1)


def _to_profile(arguments: list[str], store: Path, progress: ProgressCallback) -> RunContext:
    """The run to profile: of a configuration, or of a fit under the profile and runtime that overrides name.

    Raises:
        UserError: as ``run_named``; an override of what a fit has settled.
    """
    overrides = [text for text in arguments if "=" in text]
    if len(overrides) == len(arguments):
        return run_named(arguments, store, progress)
    from vireid.overrides import compose, override_key

    if settled := [text for text in overrides if override_key(text).partition(".")[0] not in _OF_A_PROFILE]:
        raise UserError(f"'{settled[0]}': a fit has settled that; beside its id only profile and runtime can be set")
    run = run_named([text for text in arguments if "=" not in text], store, progress)
    chosen = compose(overrides)
    named = {override_key(text).partition(".")[0] for text in overrides}
    changes = {section: getattr(chosen, section) for section in _OF_A_PROFILE if section in named}
    return replace(run, config=run.config.model_copy(update=changes))


_OF_A_PROFILE = ("profile", "runtime")


@app.command()
def explain(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN [OTHER]", help="Ids of one fit, or of two on the same images.")
    ],
    root: Root = None,
    report: Annotated[
        bool, typer.Option("--report", help="Render the notebook `explain` from what was written.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a page beside a run: ranked lists with pictures, hardest queries, people, cameras, similarities.

    With two runs also the queries that changed most from the first to the second.
    """
    from vireid.cli.study import find_template, render
    from vireid.explain.pair import write_pair
    from vireid.explain.seen import look
    from vireid.explain.step import explain_seen
    from vireid.report.records.runs import plan_of_runs

    ids = [planned.fit for planned in plan_of_runs(opened(store), runs).runs]
    template = find_template("explain") if report else None
    seen = []
    for run in ids:
        with finished_run(run, store, root) as context:
            seen.append(look(context))
            folder = explain_seen(seen[-1])
        show.console.print(f"page: {folder / 'index.html'}", soft_wrap=True)
    if len(seen) > 1:
        write_pair(*seen)
    if template is not None:
        page = render(opened(store), "", template, runs=ids, out=seen[-1].folder / "report")
        show.console.print(f"report: {page}", soft_wrap=True)


@app.command()
def trunk(
    run: Annotated[str, typer.Argument(help="Id of a fit on visible images alone, or its first digits.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder; by default the suite's own, results/trunks.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a fit's ResNet as a trunk, which `model.pretrained=trunk` finds."""
    from vireid.experiment.start import write_trunk
    from vireid.models.trunk import TRUNKS

    records = opened(store)
    file = write_trunk(records.find(run), records, TRUNKS if to is None else to)
    show.console.print(f"trunk: {file}", soft_wrap=True)
