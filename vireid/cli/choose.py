"""``vireid choose``: the most accurate artefact within limits on one device, from records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, opened
from vireid.cli.choose_gallery import choose_with_gallery, parse_size, parse_time, retrieval_json, show_retrieval
from vireid.cli.gallery import parse_share
from vireid.cli.show import console, remark
from vireid.core.errors import UserError
from vireid.core.messages import DASH
from vireid.core.table import Either, Table

if TYPE_CHECKING:
    from vireid.report.records.choose import Deployable, DeploymentChoice
    from vireid.report.records.deployment import DeploymentView
    from vireid.report.records.floor import Floor
    from vireid.report.records.keys import AccuracyKey


@app.command()
def choose(
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Part of the machine's name, or the id of any latency record made on it; needed where several "
            "machines were measured.",
        ),
    ] = None,
    max_ms: Annotated[float | None, typer.Option("--max-ms", help="Latency of one image, milliseconds.")] = None,
    max_mb: Annotated[float | None, typer.Option("--max-mb", help="The artefact's file on disk, MB.")] = None,
    max_rss_mb: Annotated[
        float | None, typer.Option("--max-rss-mb", help="Highest resident memory of the process, MB.")
    ] = None,
    percentile: Annotated[
        Literal["50", "90", "99"], typer.Option("--percentile", help="Which latency is held to --max-ms.")
    ] = "50",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="By default those of the record, or those that most were measured with."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="How latency was measured: isolated, or a limit's name. By default likewise."),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Only models of this study.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Part of the accuracy protocol's title; by default the usual one.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="The fastest that keeps this share (99%) of the float32 reference's mAP."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", help="Part of the reference model's name; by default the most accurate in float32."
        ),
    ] = None,
    gallery: Annotated[
        int | None,
        typer.Option("--gallery", min=1, help="Rows that are searched: choose the storage of the gallery too."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="With --gallery: of the file in memory and the gallery, as 200MB.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option("--latency", help="With --gallery: network, preprocessing and search, as 50ms.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Choose the artefact of highest mAP within limits; exit code 1 where none fits or none was measured there.

    vireid choose --gallery 100000 --memory 200MB --latency 50ms
    """
    from vireid.core.collector import collector_paused
    from vireid.report.records.choose import Limits, candidates, choose, find_accuracy_key
    from vireid.report.records.deployment import store_deployment, study_deployment
    from vireid.report.records.devices import find_timing_key, other_conditions
    from vireid.report.records.floor import fastest_above, floor_of
    from vireid.report.records.study import StudyView

    _check_options(gallery, memory, latency, keep, reference)
    if gallery is not None and percentile != "50":
        raise UserError(f"--percentile {percentile}: with --gallery a query's medians are added up; leave it out")
    kept = None if keep is None else (parse_share(keep, "--keep"), reference)
    records = opened(store)
    with collector_paused():
        deployment = store_deployment(records) if study is None else study_deployment(StudyView(records, study))
        named = records.records(lambda row: device is not None and row.id.startswith(device))
        timed = find_timing_key(deployment, device, named, threads, mode)
        accuracy_key = find_accuracy_key(deployment, protocol, timed)
        deployables = candidates(deployment, accuracy_key, timed)
    limits = Limits(max_ms, max_mb, max_rss_mb, float(percentile))
    if gallery is not None:
        bounds = None if latency is None else parse_time(latency), None if memory is None else parse_size(memory)
        within = [candidate for candidate in deployables if not limits.exceeded(candidate)]
        searched = list(records.records(lambda row: row.kind in ("gallery", "search", "latency")))
        found, key, floor = choose_with_gallery(within, searched, protocol, timed, gallery, bounds, kept)
        if as_json:
            content = retrieval_json(found, timed, key, floor)
            typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        else:
            show_retrieval(found, timed, key, floor)
        raise typer.Exit(0 if found.best is not None else 1)
    choice = choose(deployables, timed, limits)
    floor = None if kept is None else floor_of(choice.considered, *kept)
    if floor is not None:
        choice = fastest_above(choice, floor)
    if as_json:
        typer.echo(json.dumps(_as_json(choice, accuracy_key, floor), indent=1, ensure_ascii=False))
    elif not choice.considered:
        _say_unmeasured(deployment, choice)
    else:
        _show(choice, accuracy_key, other_conditions(deployment, timed), floor)
    if choice.best is None:
        raise typer.Exit(1)


def _check_options(
    gallery: int | None, memory: str | None, latency: str | None, keep: str | None, of: str | None
) -> None:
    for option, value, needed in (("--memory", memory, "--gallery"), ("--latency", latency, "--gallery")):
        if value is not None and gallery is None:
            instead = "--max-rss-mb" if option == "--memory" else "--max-ms"
            raise UserError(f"{option} {value}: counts the gallery too: add {needed} ROWS, or limit with {instead}")
    if of is not None and keep is None:
        raise UserError(f"--reference {of}: says nothing without --keep, such as --keep 99%")


def _show(
    choice: DeploymentChoice, accuracy_key: AccuracyKey | None, conditions: list[str], floor: Floor | None = None
) -> None:
    from vireid.report.records.evaluated import kernels_note
    from vireid.report.records.floor import floor_sentences

    console.print(_table(choice, accuracy_key, floor))
    if floor is not None and choice.best is None:
        lines = floor_sentences(choice, floor)
    elif choice.best is None:
        remark(choice.nearest_misses, style="bold")
        lines = []
    else:
        chosen = [choice.sentence, choice.against_runner_up]
        lines = chosen if floor is None else floor_sentences(choice, floor)
        if choice.limits.mb is not None:
            lines.append("The file counts as it lies on disk; where no fp32 file was measured, its weights do.")
        if accuracy_key is not None and accuracy_key.card.split == "test":
            lines.append("Chosen by test identities: the chosen score is the highest of several and leans upwards.")
        for candidate in filter(None, (choice.best, choice.runner_up)):
            lines.append(kernels_note(candidate))
            if candidate.timing.notes:
                lines.append(f"The profiler noted of {candidate}: {'; '.join(candidate.timing.notes)}.")
        lines.append(choice.bundle_note)
    lines.append(choice.people_note)
    if choice.unevaluated:
        others = sorted(choice.unevaluated, key=lambda candidate: not candidate.measured_on)
        listed = _listed(others)
        lines.append(f"Measured, but without an accuracy of their own under this protocol: {listed}.")
    if conditions:
        lines.append(f"Measured there too: {'; '.join(conditions)} (--threads, --mode).")
    for line in filter(None, lines):
        remark(line)
    for command in choice.best.commands if choice.best is not None else []:
        remark(f"  {command}", soft_wrap=True, style="bold")


def _table(choice: DeploymentChoice, accuracy_key: AccuracyKey | None, floor: Floor | None) -> Table:
    """The pick first, in five columns; pipes get every figure."""
    percentile = f"p{choice.limits.percentile:g} ms"
    key = [f"on {choice.key}"] if accuracy_key is None else [f"on {choice.key}", accuracy_key.title]
    goal = "Most accurate" if floor is None else "Fastest that keeps the floor"
    table = Table("\n".join([f"{goal} within the limits", *key]))
    table.caption = "" if accuracy_key is None else accuracy_key.note
    table.add_column("choice", "group")
    table.add_columns("model", "runtime", percentile, "MB", text=("runtime",), wrap=("model",))
    if choice.limits.rss_mb is not None:
        table.add_column("RSS MB", "number")
    table.add_column("mAP % [95 %]", "number")
    for name in ("low", "high", "seeds", "fits", "p50", "p90", "p99", "rss", "exceeds", "kernels"):
        table.add_column(name, "pipe")
    for candidate in choice.shown:
        table.add_row(*_row(candidate, choice, floor), style=_style(candidate, choice))
    return table


def _style(candidate: Deployable, choice: DeploymentChoice) -> str | None:
    if candidate == choice.best:
        return "bold green"
    return "bright_black" if choice.limits.exceeded(candidate) else None


def _choice(candidate: Deployable, choice: DeploymentChoice) -> str:
    if candidate == choice.best:
        return "the pick"
    if candidate == choice.runner_up:
        return "the runner-up, the next other network or precision"
    over = choice.limits.exceeded(candidate)
    return "on the front, over the limits" if over else "also on the front: less accurate, faster"


def _under_floor(candidate: Deployable, choice: DeploymentChoice, floor: Floor) -> str:
    if candidate in (choice.best, choice.runner_up):
        return _choice(candidate, choice)
    below = "keeps the floor" if floor.keeps(candidate.accuracy) else "below the floor"
    return f"on the front, {below}" + (", over the limits" if choice.limits.exceeded(candidate) else "")


def _row(candidate: Deployable, choice: DeploymentChoice, floor: Floor | None) -> list[str | Either]:
    timing, accuracy = candidate.timing, candidate.accuracy
    assert accuracy is not None
    score = f"{100 * accuracy.mean_ap:.1f}"
    mark = "?" if floor is not None and floor.doubtful(accuracy) else ""
    size, rss = (
        DASH if bytes_ is None else f"{bytes_ / 1e6:.1f}" for bytes_ in (candidate.size_bytes, timing.rss_bytes)
    )
    ends = (DASH if end is None else f"{100 * end:.1f}" for end in (accuracy.low, accuracy.high))
    return [
        _choice(candidate, choice) if floor is None else _under_floor(candidate, choice, floor),
        candidate.label,
        Either(timing.short, timing.runtime),
        f"{timing.ms(choice.limits.percentile):.2f}",
        size,
        *([rss] if choice.limits.rss_mb is not None else []),
        Either(f"{score}{mark} {accuracy.interval}".rstrip(), score),
        *ends,
        ",".join(map(str, accuracy.seeds)),
        ",".join(candidate.fits),
        *(f"{timing.ms(p):.2f}" for p in (50, 90, 99)),
        rss,
        "; ".join(choice.limits.exceeded(candidate)),
        accuracy.kernels,
    ]


def _say_unmeasured(deployment: DeploymentView, choice: DeploymentChoice) -> None:
    """Where candidates were measured, and how to measure them here."""
    from vireid.report.records.choose import timed_models
    from vireid.report.records.keys import measuring

    if choice.unevaluated:
        remark = f"Candidates were measured on {choice.key}, but none of them was evaluated: "
        console.print(remark + _listed(choice.unevaluated))
        return
    timed = Counter(timing.key for timing, _ in timed_models(deployment))
    there = "; ".join(f"{key}: {count}" for key, count in sorted(timed.items())) or "nowhere yet"
    console.print(f"No candidate was measured on {choice.key}. Measured: {there}.", style="bold")
    overrides_of = {model.graph: model.measured_as for model in deployment.models}
    console.print("These measure there; run them on that machine:")
    for overrides in overrides_of.values() or [["model=NAME", "data.height=H", "data.width=W"]]:
        command = measuring(choice.key, overrides)
        console.print(f"  {command}", style="bold", soft_wrap=True)


def _listed(candidates: Sequence[Deployable], most: int = 3) -> str:
    more = f"; and {len(candidates) - most} more" if len(candidates) > most else ""
    named = (f"{c} ({c.elsewhere})" if c.elsewhere else str(c) for c in candidates[:most])
    return "; ".join(named) + more


def _as_json(choice: DeploymentChoice, accuracy_key: AccuracyKey | None, floor: Floor | None) -> dict[str, Any]:
    limits = choice.limits
    return {
        "place": {"device": choice.key.device, "way": choice.key.way, "threads": choice.key.threads},
        "protocol": None if accuracy_key is None else accuracy_key.title,
        "note": "" if accuracy_key is None else accuracy_key.note,
        "limits": {"ms": limits.ms, "mb": limits.mb, "rss_mb": limits.rss_mb, "percentile": limits.percentile},
        **({} if floor is None else {"floor": {"mAP": floor.value, "share": floor.share, "of": floor.reference}}),
        "best": None if choice.best is None else _entry(choice.best, choice),
        "runner_up": None if choice.runner_up is None else _entry(choice.runner_up, choice),
        "intervals_overlap": choice.overlap,
        "commands": [] if choice.best is None else choice.best.commands,
        "reason": choice.nearest_misses if choice.best is None else None,
        "candidates": [_entry(candidate, choice) for candidate in choice.considered],
        "not_evaluated": [_entry(candidate, choice) for candidate in choice.unevaluated],
        "on_other_people": [_entry(candidate, choice) for candidate in choice.elsewhere],
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
        "kernels": None if accuracy is None or not accuracy.kernels else accuracy.kernels,
        "measured_on": list(candidate.measured_on),
        "on_front": candidate in choice.front,
        "exceeds": choice.limits.exceeded(candidate),
    }
