"""Commands on studies: ablate and report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vireid.cli import DEFAULT_STORE, Overrides, StoreOption, app, opened, writable
from vireid.cli.listing import plan_table
from vireid.cli.show import console, failure_lines
from vireid.core.errors import UserError, did_you_mean
from vireid.core.messages import printer
from vireid.core.shipped import shipped
from vireid.core.table import Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.ablation.engines.base import Engine
    from vireid.ablation.study import Study
    from vireid.config import ExperimentConfig
    from vireid.core.plan import Plan
    from vireid.store import Store


@app.command()
def ablate(
    study: Annotated[
        str | None,
        typer.Argument(help="Study file such as ablations/quick.yaml, or the name of one: quick."),
    ] = None,
    overrides: Overrides = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the studies that are there.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print cells and ids; train nothing, read no data.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print how long it would take here, from records; train nothing.")
    ] = False,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Other seeds, comma separated: 1,2,3.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only cells with this level: factor=level; repeatable.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Fits at the same time; they share the cores (small models gain). By default the study's own number, "
            "or as many as there are cores. A fit of runtime.processes=N counts as N.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", help="Where jobs run: local, ray (many machines), slurm, or your own as module:Class."
        ),
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Of the engine's cluster: host:port; by default the one here.")
    ] = None,
    request: Annotated[
        list[str] | None,
        typer.Option(
            "--request",
            help="What every fit asks of a machine of the cluster: memory_gib=8, gpus=1; of Ray a tag of your own such "
            "as big=1, of Slurm partition=long; repeatable.",
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Render the report at the end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON alone: the studies, the plan, or what was run and what failed.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Run a study: every cell is trained, evaluated and profiled; finished runs are reused, broken ones resumed."""
    from vireid.ablation.plan import check_earlier_fits, make_plan, replaced
    from vireid.ablation.study import find_study, read_study

    if list_:
        _list_studies(as_json=as_json)
        return
    if study is None:
        raise UserError("name a study, such as `vireid ablate quick`; `vireid ablate --list` names what is there")
    definition = read_study(find_study(study))
    planned, configs = make_plan(definition, overrides or [], seeds=_numbers(seeds), only=only or [])
    if gone := replaced(definition, overrides or []):
        text = f"note: these choices replace whole sections, and with them {', '.join(gone)} of the study's base; "
        printer(stderr=True).print(f"{text}repeat what is meant", soft_wrap=True)
    if plan:
        check_earlier_fits(configs, opened(store))
        if as_json:
            typer.echo(planned.model_dump_json(indent=1))
            return
        console.print(plan_table(planned, terminal=console.is_terminal))
        return

    if estimate:
        if as_json:
            raise UserError("--estimate prints sentences; leave --json out")
        from vireid.ablation.run import most_processes

        slots = jobs or min(definition.jobs, os.cpu_count() or 1)
        side_by_side = max(1, slots // most_processes(configs.values()))
        _estimate(definition, planned, configs, opened(store), side_by_side)
        return

    from vireid.ablation.run import run_study

    where_jobs_run = _engine(engine, address, request or [])
    records = writable(store)
    template = find_template(definition.report) if report else None
    failures = run_study(definition, planned, configs, records, jobs, where_jobs_run)
    page = None if template is None else render(records, planned.name, template)
    if as_json:
        typer.echo(json.dumps(_outcome(records, planned, failures, page), indent=1, ensure_ascii=False))
        if failures:
            raise typer.Exit(1)
        return
    for line in failure_lines(failures):
        console.print(line, style="bold red", soft_wrap=True)
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def _engine(name: str, address: str | None, requests: Sequence[str]) -> Engine:
    """The engine of that name with the settings that were given.

    Raises:
        UserError: no such engine, or one without these settings.
    """
    from vireid.ablation.engines import ENGINES
    from vireid.core.config import parse

    settings: dict[str, Any] = {"name": name}
    if address is not None:
        settings["address"] = address
    if requests:
        settings["request"] = dict(_request(text) for text in requests)
    engine_class = ENGINES.load(name)
    engine: Engine = engine_class(parse(engine_class.Config, settings, f"--engine {name}"))
    return engine


def _request(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"--request {text}: expected NAME=VALUE, such as memory_gib=8")
    return name, value


def _estimate(
    definition: Study, planned: Plan, configs: Mapping[str, ExperimentConfig], records: Store, jobs: int
) -> None:
    from vireid.ablation.engines.local import share_cores
    from vireid.ablation.estimate import estimate, lines, telling
    from vireid.experiment.records import environment
    from vireid.store import Store

    config = share_cores(next(iter(configs.values())), jobs)
    published = Store(shipped("results"))
    here = environment(config)
    others = () if published.root.resolve() == records.root.resolve() else published.records(telling(here))
    for line in lines(definition, estimate(planned, configs, records, others, here, jobs)):
        console.print(line)


def _outcome(records: Store, planned: Plan, failures: Mapping[str, str], page: Path | None) -> dict[str, Any]:
    """What a study has in the store, run by run, and what failed."""
    runs = []
    for run in planned.runs:
        scores = {}
        for id_ in run.evaluations:
            record = records.get(id_)
            scores[id_] = record.metrics if record is not None and record.kind == "evaluation" else None
        done = records.get(run.fit) is not None
        runs.append({"cell": run.cell, "seed": run.seed, "fit": run.fit, "trained": done, "evaluations": scores})
    return {
        "study": planned.name,
        "plan": str(records.study(planned.name) / "plan.json"),
        "runs": runs,
        "failures": dict(failures),
        "report": None if page is None else str(page),
    }


def _list_studies(*, as_json: bool = False) -> None:
    from vireid.ablation.study import read_study, study_files

    table = Table("Studies, for `vireid ablate NAME`")
    table.add_columns("name", "title", text=("name",), wrap=("title",))
    table.add_column("file", "pipe")
    entries = []
    for name, path in study_files().items():
        try:
            title = read_study(path).title
        except UserError as error:
            title = f"cannot be read: {error}"
        file = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
        entries.append({"name": name, "title": title, "file": file})
        table.add_row(name, title, file)
    if as_json:
        typer.echo(json.dumps(entries, indent=1, ensure_ascii=False))
    else:
        console.print(table)


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="Name of a study that has been run.", show_default=False)] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Render every study of the store, and a page that lists them.")
    ] = False,
    template: Annotated[
        str | None, typer.Option("--template", help="Notebook in notebooks/, or a path; by default the study's own.")
    ] = None,
    columns: Annotated[
        str, typer.Option("--columns", help="Of the narrow LaTeX tables, comma separated: r1,mAP,latency.")
    ] = "",
    formats: Annotated[
        str,
        typer.Option(
            "--formats",
            help="Kept beside the page, comma separated, of svg,pdf,png,csv,tex,md; all but png by default.",
        ),
    ] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Render the report of a study from its records, or of all."""
    from vireid.report.records.find import known_studies
    from vireid.report.records.study import read_plan

    records = opened(store)
    if every == bool(study):
        raise UserError("report: name one study, or give --all")
    from vireid.report.copies import kinds_of

    chosen, kinds = ([part.strip() for part in text.split(",") if part.strip()] for text in (columns, formats))
    kinds_of(kinds)  # an unknown one is told before anything is rendered
    for one in known_studies(records.root) if every else [study]:
        own = read_plan(records, one).study.get("report", "ablation")
        notebook = find_template(template or own)
        further = None if notebook.stem == own else records.study(one) / f"report-{notebook.stem}"
        console.print(f"report: {render(records, one, notebook, chosen, kinds, out=further)}", soft_wrap=True)
    if every:
        from vireid.experiment.sources import stale_parts
        from vireid.report.index import write_index

        console.print(f"studies: {write_index(records, list(stale_parts(records.rows())))}", soft_wrap=True)


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Of the module, such as my_method.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="Folder that takes it.")] = Path(),
) -> None:
    """Begin a method of your own: a module that trains as it stands, and a study that sets it beside IDKL."""
    from vireid.ablation.new_method import write_method

    module, study = write_method(name, to)
    console.print(f"{module}: your method; change what you like\n{study}: a study beside IDKL", soft_wrap=True)
    console.print(f"next: vireid ablate {study} --report", soft_wrap=True)


def render(
    store: Store,
    study: str,
    template: Path,
    columns: Sequence[str] = (),
    formats: Sequence[str] = (),
    *,
    runs: Sequence[str] = (),
    out: Path | None = None,
) -> Path:
    """Render a report as ``render_report`` does, with its progress and the records that are stale now."""
    from vireid.core.collector import collector_paused
    from vireid.experiment.sources import stale_parts
    from vireid.report.records.study import read_plan
    from vireid.report.render import render_report

    with bars() as progress, collector_paused():
        progress("render the report", 0, 1, template.name)
        named = read_plan(store, study).decisive if study else None
        stale = list(stale_parts(row for row in store.rows() if named is None or row.id in named))
        page = render_report(store, study, template, out, stale, columns, formats, runs)
        progress("render the report", 1, 1)
    return page


def find_template(name: str) -> Path:
    """A notebook given as a path, or by name from ``notebooks/`` here or of the suite."""
    if name.endswith(".ipynb"):
        return Path(name)
    folders = [Path.cwd() / "notebooks", shipped("notebooks")]
    for folder in folders:
        if (folder / f"{name}.ipynb").is_file():
            return folder / f"{name}.ipynb"
    known = {file.stem for folder in folders for file in folder.glob("*.ipynb")}
    raise UserError(
        f"report template '{name}': no {name}.ipynb in {folders[0]} or {folders[1]}{did_you_mean(name, known)}"
    )


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"'{text}' is not a list of whole numbers such as 1,2,3", param_hint="--seeds"
        ) from error
