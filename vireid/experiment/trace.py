"""From a record back to where it comes from: the study and cell that plan it, the command that makes it again."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from vireid.config import ExperimentConfig
from vireid.core.config import deciding
from vireid.core.errors import UserError
from vireid.core.identity import is_run_id
from vireid.core.plan import Plan, PlannedRun
from vireid.core.records import (
    CostRecord,
    EvaluationRecord,
    FitRecord,
    GalleryRecord,
    LatencyRecord,
    Record,
    SearchRecord,
)
from vireid.experiment.differences import evaluations_of
from vireid.experiment.identity import RunIds, hydra_text, processes_overrides
from vireid.experiment.reload import config_of_fit, weights_file
from vireid.overrides import compose
from vireid.report.records.choose import key_for
from vireid.report.records.deployment import plans_of
from vireid.report.records.keys import measuring
from vireid.store import Store

_SECTIONS = ("data", "augmentation", "model", "weighting", "curriculum", "recipe")
_NETWORK = ("model", "data", "augmentation")  # sections whose overrides decide a network and its resolution
_NO_KEYS = ("name", "version", "pretrained")  # of a recorded model: no overrides of its configuration


@dataclass(frozen=True)
class Remake:
    """How a record is made again."""

    command: str | None
    """Ready to paste; None where nothing says how."""
    remark: str = ""
    """What the command does not keep, or why there is none."""


def find_record(store: Store, prefix: str) -> Record:
    """The record whose id starts with ``prefix``: a result, else the last failed attempt at it.

    Raises:
        UserError: none, or several.
    """
    try:
        return store.find(prefix)
    except UserError:
        attempts = [record for record in store.failures() if record.id.startswith(prefix)]
        finished = any(is_run_id(path.stem) for path in store.runs.glob(f"{prefix}*.json"))
        if finished or len({record.id for record in attempts}) != 1:
            raise
        return max(attempts, key=lambda record: record.ended)


def planned_in(store: Store, record: Record) -> list[tuple[Plan, PlannedRun]]:
    """The studies whose plan names a record, with the run that does."""
    return [
        (plan, run)
        for plan in plans_of(store)
        for run in plan.runs
        if record.id in (run.fit, run.cost, *run.evaluations, *run.deployed)
    ]


def remake(store: Store, record: Record) -> Remake:
    """The command that makes a record again, tried against its id without training anything."""
    if isinstance(record, FitRecord):
        return _of_fit(store, record)
    if isinstance(record, EvaluationRecord):
        return _of_evaluation(store, record)
    if isinstance(record, CostRecord):
        return _of_cost(store, record)
    if isinstance(record, GalleryRecord):
        command = ["vireid", "gallery", record.fit, "--storage", record.storage, "--rows", "0"]
        return Remake(shlex.join([*command, *([] if record.artefact is None else ["--deployed"])]))
    if isinstance(record, SearchRecord):
        command = ["vireid", "gallery", "RUN", "--storage", record.storage, "--rows", str(record.rows), "--again"]
        remark = f"of any fit with {record.features} values; measures on the machine where it is run"
        return Remake(shlex.join([*command, "--library", record.library]), remark)
    return _of_latency(store, record)


def _of_fit(store: Store, record: FitRecord) -> Remake:
    if record.source.method is not None:
        scores = (_of_features(record, score) for score in evaluations_of(store, record.id))
        made = next((made for made in scores if made.command is not None), None)
        return made or Remake(None, "no score of it in this store says under which protocol to score its features")
    for overrides, config in _planned_configs(store, record):
        if RunIds(config).fit == record.id:
            return Remake(shlex.join(["vireid", "train", *overrides]), _needed(store, record))
    try:
        config = config_of_fit(record, [], None, store)
    except UserError as error:
        return Remake(None, str(error))
    if record.imported is not None:
        return _import(record, config)
    command = ["vireid", "train", *_in_full(config)]
    if RunIds(compose(command[2:])).fit != record.id:
        return Remake(None, "no override says what it was made with; its configuration is above")
    root = "" if config.data.synthetic is not None else "add data.root=/path/to/the/images"
    return Remake(shlex.join(command), "; ".join(filter(None, [root, _needed(store, record)])))


def _import(record: FitRecord, config: ExperimentConfig) -> Remake:
    """How weights are imported again: from their file or their fit, which have to be there."""
    assert record.imported is not None
    assert config.imported is not None
    seed = [f"seed={config.seed}"] if config.seed else []
    images = [f"data={hydra_text(deciding(config.data))}", *seed]
    root = "" if config.data.synthetic is not None else "; add data.root=/path/to/the/images"
    if config.imported.arch is None:
        whose = f"needs the weights of fit {config.imported.run}, whose SHA-256 is {record.imported.sha256}"
        return Remake(shlex.join(["vireid", "transfer", str(config.imported.run), *images]), whose + root)
    command = shlex.join(["vireid", "import", record.imported.file, "--arch", config.imported.arch, *images])
    return Remake(command, f"the file's SHA-256 is {record.imported.sha256}{root}")


def _of_features(fit: FitRecord, record: EvaluationRecord) -> Remake:
    """How features are scored again, which needs their file."""
    from vireid.experiment.scored import protocol_of  # evaluates, and so needs torch: other commands do not

    protocol, origin, source = protocol_of(record), fit.imported, record.source
    if protocol is None or origin is None:
        return Remake(None, "its protocol card says what it was, no protocol of today does")
    choices = {key: value for key, value in deciding(protocol).items() if key != "test_time"}
    text = yaml.safe_dump(choices, default_flow_style=True, sort_keys=False, width=10_000).strip()
    command = ["vireid", "score", origin.file, "--protocol", text, "--split", record.card.split]
    if "split" in fit.config["data"]["dataset"]:
        command += ["--regdb-split", str(fit.config["data"]["dataset"]["split"])]
    command += ["--method", str(source.method), "--citation", str(source.citation)]
    command += ["--paper", source.paper] if source.paper else []
    command += ["--test-time", protocol.test_time] if protocol.test_time != "none" else []
    return Remake(shlex.join(command), f"the file's SHA-256 is {origin.sha256}; add --root /path/to/the/images")


def _needed(store: Store, record: FitRecord) -> str:
    """The fits whose weights a fit builds on, where they are not in the store."""
    teacher = (record.config.get("model") or {}).get("teacher") or {}
    earlier = filter(None, [teacher.get("run"), record.config.get("start_from")])
    missing = [run for run in dict.fromkeys(earlier) if not weights_file(store, run).is_file()]
    return "; ".join(f"first train fit {run}, whose weights it needs: `vireid results show {run}`" for run in missing)


def _in_full(config: ExperimentConfig) -> list[str]:
    """A configuration by its own settings, where no study names it by its presets."""
    sections = [name for name in _SECTIONS if name != "curriculum" or config.curriculum.name != "off"]
    overrides = [f"{name}={hydra_text(deciding(getattr(config, name)))}" for name in sections]
    overrides += [f"seed={config.seed}", *([f"stream={config.stream}"] if config.stream else [])]
    overrides += processes_overrides(config)
    return [*overrides, *([] if config.start_from is None else [f'start_from="{config.start_from}"'])]


def _of_evaluation(store: Store, record: EvaluationRecord) -> Remake:
    fit = store.get(record.fit)
    if not isinstance(fit, FitRecord):
        return Remake(None, f"its fit {record.fit} is not in this store")
    if fit.source.method is not None:
        return _of_features(fit, record)
    if record.artefact is not None:
        made = _of_fit(store, fit)
        return Remake(made.command, "exports and evaluates the fit's files after training, where that is done already")
    try:
        configs = [config_of_fit(fit, [], None, store), *(config for _, config in _planned_configs(store, record))]
    except UserError as error:
        return Remake(None, str(error))
    for config in configs:
        for protocol in config.evaluation.protocols:
            if RunIds(config).evaluation(protocol) == record.id:
                text = yaml.safe_dump(deciding(protocol), default_flow_style=True, sort_keys=False, width=10_000)
                return Remake(shlex.join(["vireid", "evaluate", fit.id, text.strip()]))
    return Remake(None, "its protocol is none of its study's or dataset's; the protocol card says what it was")


def _of_cost(store: Store, record: CostRecord) -> Remake:
    if (overrides := _planned_network(store, record)) is not None:
        return Remake(shlex.join(["vireid", "profile", *overrides]))
    command = shlex.join(["vireid", "profile", *_cost_overrides(record)])
    return Remake(command, "the model's plain keys alone; nothing in this store says more")


def _of_latency(store: Store, record: LatencyRecord) -> Remake:
    every = store.records(lambda row: row.kind == "cost" and row.graph == record.artefact)
    costs = [cost for cost in every if isinstance(cost, CostRecord)]
    if not costs:
        return Remake(None, f"no cost record in this store names its graph {record.artefact}")
    planned = (_planned_network(store, cost) for cost in costs)
    network = next((overrides for overrides in planned if overrides is not None), _cost_overrides(costs[0]))
    command = measuring(key_for(record), network)
    runtime = {key: value for key, value in record.runtime.items() if key != "version" and value not in (None, False)}
    text = yaml.safe_dump([runtime], default_flow_style=True, sort_keys=False, width=10_000).strip()
    extra = shlex.join([f"profile.runtimes={text}", f"profile.batches=[{record.batch}]", "--again"])
    return Remake(f"{command} {extra}", "measures on the machine where it is run; samples differ from time to time")


def _planned_network(store: Store, cost: CostRecord) -> list[str] | None:
    """What a study says of the network and its resolution alone, where that is enough for the id; else all of it."""
    for overrides, _ in _planned_configs(store, cost):
        network = [o for o in overrides if o.startswith(_NETWORK) and not o.startswith("model.teacher=")]
        for shorter in (network, [o for o in overrides if o.startswith(_NETWORK)], overrides):
            try:
                if RunIds(compose(shorter)).cost == cost.id:
                    return shorter
            except UserError:
                continue
    return None


def _cost_overrides(record: CostRecord) -> list[str]:
    height, width = record.resolution
    plain = {k: v for k, v in record.model.items() if isinstance(v, str | int | float) and k not in _NO_KEYS}
    keys = [f"model.{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in plain.items()]
    return [f"model={record.model['name']}", *keys, f"data.height={height}", f"data.width={width}"]


def _planned_configs(store: Store, record: Record) -> Iterator[tuple[list[str], ExperimentConfig]]:
    """Overrides that studies name for a record, and their configuration; those that compose no more are left out."""
    for plan, run in planned_in(store, record):
        overrides = [*map(str, plan.study.get("base", [])), *run.overrides]
        try:
            yield overrides, compose(overrides)
        except UserError:
            continue
