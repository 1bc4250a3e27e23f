"""Commands on single runs: config, train, profile, explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from vireid.cli import DEFAULT_STORE, Overrides, StoreOption, app
from vireid.cli.show import console, cost_table, evaluation_table, latency_table


@app.command()
def config(
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema instead.")] = False,
) -> None:
    """Print the resolved configuration, or its JSON Schema."""
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
    from vireid.config import compose
    from vireid.experiment.evaluate import evaluate_step
    from vireid.experiment.fit import fit_step
    from vireid.experiment.progress import bars
    from vireid.store import Store

    settings, place = compose(overrides or []), Store(store)
    place.prepare()
    with bars() as progress:
        fit = fit_step(settings, place, progress)
        evaluations = evaluate_step(settings, place, progress)
    console.print(evaluation_table(evaluations))
    console.print(f"fit {fit.id}: {place.directory(fit.id)}", soft_wrap=True)


@app.command()
def profile(overrides: Overrides = None, store: StoreOption = DEFAULT_STORE) -> None:
    """Count parameters and MACs of a configuration and measure its latency here. Needs no data and no training."""
    from vireid.config import compose
    from vireid.experiment.profile import cost_step, latency_step
    from vireid.experiment.progress import bars
    from vireid.store import Store

    settings, place = compose(overrides or []), Store(store)
    place.prepare()
    with bars() as progress:
        cost = cost_step(settings, place, progress)
        latencies = latency_step(settings, place, progress)
    console.print(cost_table(cost))
    console.print(latency_table(latencies))


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")],
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a page beside a run: ranked lists with pictures, hardest queries, people, cameras, similarities."""
    from vireid.experiment.explain import explain_step
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.store import Store

    place = Store(store)
    place.prepare()
    settings = config_of_fit(place.find(run), [], root, place)
    with bars() as progress:
        folder = explain_step(settings, place, progress)
    console.print(f"page: {folder / 'index.html'}", soft_wrap=True)
