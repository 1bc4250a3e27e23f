"""Commands on single runs: config, train, profile, explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vireid.cli import DEFAULT_STORE, Overrides, StoreOption, app
from vireid.cli.options import root_option
from vireid.cli.show import console, cost_table, deployed_table, evaluation_table
from vireid.cli.show_latency import latency_table, remarks, stages_settings, stages_table


@app.command()
def config(
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema instead.")] = False,
) -> None:
    """Print the resolved configuration, or its JSON Schema."""
    import yaml

    from vireid.config import ExperimentConfig, choices, compose, group_names

    if schema:
        typer.echo(json.dumps(ExperimentConfig.model_json_schema(), indent=2))
        return
    settings = compose(overrides or []).model_dump(mode="json")
    for group in group_names():
        typer.echo(f"# {group}: {' | '.join(choices(group))}")
    typer.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


@app.command()
def train(overrides: Overrides = None, store: StoreOption = DEFAULT_STORE) -> None:
    """Train one configuration, then evaluate it under its protocols. Finished work is reused, a broken run resumed."""
    from vireid.core.threads import wait_patiently

    wait_patiently()  # before anything imports torch
    from vireid.config import compose
    from vireid.experiment.deploy.evaluate import deployed_step
    from vireid.experiment.evaluate import evaluate_step
    from vireid.experiment.fit import fit_step
    from vireid.experiment.progress import bars
    from vireid.store import Store

    settings, place = compose(overrides or []), Store(store)
    place.prepare()
    with bars() as progress:
        fit = fit_step(settings, place, progress)
        evaluations = evaluate_step(settings, place, progress)
        deployed = deployed_step(settings, place, progress)
    console.print(evaluation_table(evaluations))
    if deployed:
        console.print(deployed_table(deployed))
    console.print(f"fit {fit.id}: {place.directory(fit.id)}", soft_wrap=True)


@app.command()
def profile(
    overrides: Overrides = None,
    store: StoreOption = DEFAULT_STORE,
    stages: Annotated[
        bool, typer.Option("--stages", help="Also time the way from a JPEG file to a ranked list.")
    ] = False,
) -> None:
    """Count parameters and MACs of a configuration and measure its latency here. Needs no data and no training."""
    from vireid.config import compose
    from vireid.experiment.cost.profile import cost_step, measure_latencies
    from vireid.experiment.progress import bars
    from vireid.profiling.config import StagesConfig
    from vireid.store import Store

    settings, place = compose(overrides or []), Store(store)
    if stages and settings.profile.stages is None:
        asked = settings.profile.model_copy(update={"stages": StagesConfig()})
        settings = settings.model_copy(update={"profile": asked})
    place.prepare()
    with bars() as progress:
        cost = cost_step(settings, place, progress)
        latencies = measure_latencies(settings, place, progress)
    console.print(cost_table(cost))
    ways = [record for record in latencies if record.stages]
    forward = [record for record in latencies if record not in ways]
    console.print(latency_table(forward))
    for record in ways:
        console.print(stages_table(record))
        console.print(stages_settings(record), soft_wrap=True)
    for line in remarks(latencies):
        console.print(line, soft_wrap=True)
    if any(record.status == "failed" for record in latencies):
        raise typer.Exit(1)


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")],
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a page beside a run: ranked lists with pictures, hardest queries, people, cameras, similarities."""
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.explain.step import explain_step
    from vireid.store import Store

    place = Store(store)
    place.prepare()
    settings = config_of_fit(place.find(run), [], root, place)
    with root_option(run), bars() as progress:
        folder = explain_step(settings, place, progress)
    console.print(f"page: {folder / 'index.html'}", soft_wrap=True)
