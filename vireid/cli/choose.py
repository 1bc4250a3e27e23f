"""``vireid choose``: the most accurate artefact within limits on one device, from records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, opened
from vireid.cli.show import console
from vireid.core.errors import UserError
from vireid.core.messages import DASH, Table

if TYPE_CHECKING:
    from vireid.report.records.choose import Deployable, DeploymentChoice
    from vireid.report.records.deployment import DeploymentView
    from vireid.report.records.keys import AccuracyKey, TimingKey


@app.command()
def choose(
    device: Annotated[
        str, typer.Option("--device", help="Id of any latency record made on the device, or its first digits.")
    ],
    max_ms: Annotated[float | None, typer.Option("--max-ms", help="Latency of one image, milliseconds.")] = None,
    max_mb: Annotated[float | None, typer.Option("--max-mb", help="The artefact's file on disk, MB.")] = None,
    max_rss_mb: Annotated[
        float | None, typer.Option("--max-rss-mb", help="Highest resident memory of the process, MB.")
    ] = None,
    percentile: Annotated[
        Literal["50", "90", "99"], typer.Option("--percentile", help="Which latency is held to --max-ms.")
    ] = "50",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="By default those of the record.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Only models of this study.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Part of the accuracy protocol's title; by default the usual one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Choose the artefact of highest mAP within limits; exit code 1 where none fits or none was measured there."""
    from vireid.report.records.choose import Limits, candidates, choose, find_accuracy_key, key_for
    from vireid.report.records.deployment import store_deployment, study_deployment
    from vireid.report.records.study import StudyView

    records = opened(store)
    record = records.find(device)
    if record.kind != "latency":
        raise UserError(
            f"--device {device}: record {record.id} is of kind '{record.kind}'; name a latency record made on the "
            "device (`vireid results list --kind latency`)"
        )
    deployment = store_deployment(records) if study is None else study_deployment(StudyView(records, study))
    timed = key_for(record, threads, deployment.machines)
    accuracy_key = find_accuracy_key(deployment, protocol, timed)
    deployables = candidates(deployment, accuracy_key)
    limits = Limits(max_ms, max_mb, max_rss_mb, float(percentile))
    choice = choose(deployables, timed, limits)
    if as_json:
        typer.echo(json.dumps(_as_json(choice, accuracy_key), indent=1, ensure_ascii=False))
    elif not choice.considered:
        _say_unmeasured(deployment, deployables, choice)
    else:
        _show(choice, accuracy_key)
    if choice.best is None:
        raise typer.Exit(1)


def _show(choice: DeploymentChoice, accuracy_key: AccuracyKey | None) -> None:
    console.print(_table(choice, accuracy_key))
    if choice.unevaluated:
        remark = f"Measured, but without an accuracy of their own under this protocol: {_listed(choice.unevaluated)}."
        console.print(remark, style="dim", soft_wrap=True)
    if choice.best is None:
        console.print(choice.nearest_misses, style="bold", soft_wrap=True)
        return
    lines = [choice.sentence, choice.against_runner_up]
    if choice.limits.mb is not None:
        lines.append("The file counts as it lies on disk; where no fp32 file was measured, its weights do.")
    if accuracy_key is not None and accuracy_key.card.split == "test":
        lines.append("Chosen by test identities: the chosen score is the highest of several and leans upwards.")
    for candidate in filter(None, (choice.best, choice.runner_up)):
        if candidate.timing.notes:
            lines.append(f"The profiler noted of {candidate}: {'; '.join(candidate.timing.notes)}.")
    if note := choice.bundle_note:
        lines.append(note)
    for line in lines:
        console.print(line, soft_wrap=True)
    for command in choice.best.commands:
        console.print(f"  {command}", soft_wrap=True, style="bold")


def _table(choice: DeploymentChoice, accuracy_key: AccuracyKey | None) -> Table:
    title = "" if accuracy_key is None else accuracy_key.title
    table = Table(title=f"Front of mAP against latency, {choice.key}\n{title}")
    if accuracy_key is not None and accuracy_key.note:
        table.caption = accuracy_key.note
    text, sizes = ("", "model", "runtime", "fit"), ("file MB", "RSS MB", "mAP %", "interval", "seeds")
    table.add_columns(*text, "p50 ms", "p90 ms", "p99 ms", *sizes, "exceeds", text=(*text, "exceeds"))
    for candidate in choice.shown:
        style = "bright_black" if choice.limits.exceeded(candidate) else None
        table.add_row(*_row(candidate, choice), style="bold green" if candidate == choice.best else style)
    return table


def _row(candidate: Deployable, choice: DeploymentChoice) -> list[str]:
    timing, accuracy = candidate.timing, candidate.accuracy
    assert accuracy is not None
    return [
        "→" if candidate == choice.best else "",
        candidate.label,
        timing.runtime,
        candidate.fits[0] + (f" +{len(candidate.fits) - 1}" if len(candidate.fits) > 1 else ""),
        *(f"{timing.ms(p):.2f}" for p in (50, 90, 99)),
        *(DASH if size is None else f"{size / 1e6:.1f}" for size in (candidate.size_bytes, timing.rss_bytes)),
        f"{100 * accuracy.mean_ap:.1f}",
        accuracy.interval or DASH,
        ", ".join(map(str, accuracy.seeds)),
        "; ".join(choice.limits.exceeded(candidate)),
    ]


def _say_unmeasured(deployment: DeploymentView, deployables: list[Deployable], choice: DeploymentChoice) -> None:
    """Where candidates were measured, and how to measure them here."""
    from vireid.report.records.choose import measuring

    if choice.unevaluated:
        remark = f"Candidates were measured on {choice.key}, but none of them was evaluated: "
        console.print(remark + _listed(choice.unevaluated), soft_wrap=True)
        return
    timed: dict[TimingKey, int] = {}
    for candidate in deployables:
        timed[candidate.timing.key] = timed.get(candidate.timing.key, 0) + 1
    there = "; ".join(f"{key}: {count}" for key, count in sorted(timed.items())) or "nowhere yet"
    console.print(f"No candidate was measured on {choice.key}. Measured: {there}.", style="bold", soft_wrap=True)
    overrides_of = {model.graph: model.measured_as for model in deployment.models}
    console.print("These measure there; run them on that machine:", soft_wrap=True)
    for overrides in overrides_of.values() or [["model=NAME", "data.height=H", "data.width=W"]]:
        command = measuring(choice.key, overrides)
        console.print(f"  {command}", style="bold", soft_wrap=True)


def _listed(candidates: Sequence[Deployable], most: int = 6) -> str:
    more = f"; and {len(candidates) - most} more" if len(candidates) > most else ""
    return "; ".join(map(str, candidates[:most])) + more


def _as_json(choice: DeploymentChoice, accuracy_key: AccuracyKey | None) -> dict[str, Any]:
    limits = choice.limits
    return {
        "place": {"device": choice.key.device, "way": choice.key.mode, "threads": choice.key.threads},
        "protocol": None if accuracy_key is None else accuracy_key.title,
        "note": "" if accuracy_key is None else accuracy_key.note,
        "limits": {"ms": limits.ms, "mb": limits.mb, "rss_mb": limits.rss_mb, "percentile": limits.percentile},
        "best": None if choice.best is None else _entry(choice.best, choice),
        "runner_up": None if choice.runner_up is None else _entry(choice.runner_up, choice),
        "intervals_overlap": choice.overlap,
        "commands": [] if choice.best is None else choice.best.commands,
        "reason": choice.nearest_misses if choice.best is None else None,
        "candidates": [_entry(candidate, choice) for candidate in choice.considered],
        "not_evaluated": [_entry(candidate, choice) for candidate in choice.unevaluated],
    }


def _entry(candidate: Deployable, choice: DeploymentChoice) -> dict[str, Any]:
    timing, accuracy = candidate.timing, candidate.accuracy
    return {
        "model": candidate.label,
        "runtime": timing.first.runtime,
        "precision": candidate.precision,
        "resolution": list(timing.first.resolution),
        "graph": timing.graph,
        "latency_records": [record.id for record in timing.records],
        "fits": list(candidate.fits),
        **{f"p{p}_ms": timing.ms(p) for p in (50, 90, 99)},
        "size_bytes": candidate.size_bytes,
        "rss_bytes": timing.rss_bytes,
        "notes": timing.notes,
        "mAP": None if accuracy is None else accuracy.mean_ap,
        "mAP_interval": None if accuracy is None or accuracy.low is None else [accuracy.low, accuracy.high],
        "seeds": None if accuracy is None else list(accuracy.seeds),
        "cosine": None if accuracy is None else accuracy.cosine,
        "overlap10": None if accuracy is None else accuracy.overlap10,
        "on_front": candidate in choice.front,
        "exceeds": choice.limits.exceeded(candidate),
    }
