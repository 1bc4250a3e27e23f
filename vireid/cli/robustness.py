"""``vireid robustness``: fits on images as they are and on corrupted ones, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, finished_run, show
from vireid.core.messages import DASH
from vireid.core.table import Table

if TYPE_CHECKING:
    from vireid.core.records import FitRecord
    from vireid.experiment.robustness import Robustness


@app.command()
def robustness(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of fits, or their first digits.")],
    where: Annotated[
        Literal["query", "gallery", "both"],
        typer.Option(help="What is corrupted. The benchmark corrupts visible images: of i2v the gallery."),
    ] = "gallery",
    seeds: Annotated[int, typer.Option(help="Draws of kinds and severities: seeds 0, 1, …", min=1)] = 3,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="As for `vireid evaluate`; may be repeated. The first of each fit's by default."),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions) instead of a table.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate fits on clean and on corrupted images, and print what the corruptions cost. Nothing is trained.

    vireid robustness RUN_A RUN_B --where gallery --seeds 3
    """
    from vireid.experiment.fit import evaluate_step
    from vireid.experiment.reload import protocol_mapping
    from vireid.experiment.robustness import corrupted_protocols
    from vireid.experiment.robustness import robustness as grouped

    given = [protocol_mapping(text) for text in protocol or []]
    measured: list[tuple[FitRecord, Robustness]] = []
    for run in runs:
        with finished_run(run, store, root) as context:
            groups = corrupted_protocols(context.config, where, range(seeds), given)
            flat = [each for group in groups for each in group]
            asked = context.config.evaluation.model_copy(update={"protocols": flat})
            context = replace(context, config=context.config.model_copy(update={"evaluation": asked}))
            measured += [(context.fit, result) for result in grouped(evaluate_step(context), groups)]
    if as_json:
        typer.echo(json.dumps([_as_json(*each) for each in measured], indent=1, ensure_ascii=False))
    else:
        show.console.print(_table(measured, seeds))


def _table(measured: list[tuple[FitRecord, Robustness]], seeds: int) -> Table:
    """Three rows a fit: clean, corrupted, relative drop; under the protocol's title."""
    from vireid.experiment.robustness import METRICS

    table = Table(
        title=f"Corrupted images (%), {seeds} draws of kinds and severities" if seeds > 1 else "Corrupted images (%)"
    )
    table.add_column("protocol", "group")
    table.add_columns("fit", "images", *METRICS, text=("fit", "images"))
    for fit, result in sorted(measured, key=lambda pair: show.protocol_label(pair[1].clean.card)):
        label = show.protocol_label(result.clean.card)
        name = f"{fit.id[:6]} {fit.config['model']['name']}, seed {fit.seed}"
        sides = result.corrupted[0].card.corruption or {}
        clean = [f"{100 * result.clean.metrics[metric]:.1f}" for metric in METRICS]
        table.add_row(label, name, "as they are", *clean)
        table.add_row(label, name, f"corrupted {sides.get('where')}", *(_mean(result, metric) for metric in METRICS))
        drops = [result.drop(metric) for metric in METRICS]
        table.add_row(label, name, "relative drop", *(DASH if drop is None else f"{100 * drop:.1f}" for drop in drops))
        table.add_section()
    notes = ["relative drop: (clean − corrupted) ÷ clean, of the mean over draws; ±: standard deviation over draws"]
    if any(result.clean.data_kind == "synthetic" for _, result in measured):
        notes.append(show.SYNTHETIC)
    table.caption = "\n".join(notes)
    return table


def _mean(result: Robustness, metric: str) -> str:
    spread = result.spread(metric)
    return f"{100 * result.mean(metric):.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def _as_json(fit: FitRecord, result: Robustness) -> dict[str, Any]:
    from vireid.experiment.robustness import METRICS

    return {
        "fit": fit.id,
        "model": fit.config["model"]["name"],
        "seed": fit.seed,
        "clean": show.evaluation_json(result.clean),
        "corrupted": [show.evaluation_json(record) for record in result.corrupted],
        "relative_drop": {metric: result.drop(metric) for metric in METRICS},
        "data_kind": fit.data_kind,
    }
