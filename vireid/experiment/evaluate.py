"""Fit record → evaluation records, one per protocol; features are extracted once."""

from __future__ import annotations

import io
from typing import cast

from safetensors.torch import load_file
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import EvaluatedFile, EvaluationRecord, FitRecord, now
from vireid.core.types import FloatArray, Model
from vireid.evaluation.evaluate import EvaluationResult, evaluate
from vireid.evaluation.extraction import extract
from vireid.evaluation.protocols import PROTOCOLS, ProtocolConfig
from vireid.evaluation.trials import Trial, plan_trials
from vireid.experiment.data import PreparedData, evaluation_loader, listed_images, prepare
from vireid.experiment.device import device_of
from vireid.experiment.fit import build_model, check_same_images, weights_file
from vireid.experiment.identity import evaluation_id, fit_id
from vireid.experiment.lists import check_lists, evaluation_lists
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.records import common
from vireid.experiment.roots import remember_root
from vireid.experiment.text import with_text
from vireid.store import Store, write_atomically
from vireid.training.allocator import keep_freed_memory


def evaluate_step(
    config: ExperimentConfig, store: Store, progress: ProgressCallback = silent
) -> list[EvaluationRecord]:
    """Evaluate a finished fit under every protocol of the configuration; finished records are reused.

    Raises:
        UserError: the fit does not exist, its images or weights are gone or changed.
    """
    fit = finished_fit(config, store)
    data = prepare(config, store, progress)
    check_same_images(fit, data)
    remember_root(config, store, fit.id)
    features: FloatArray | None = None
    records = []
    protocols = config.evaluation.protocols
    for done, protocol in enumerate(protocols):
        record = store.get(evaluation_id(config, protocol))
        if isinstance(record, EvaluationRecord):
            check_same_evaluation_images(record, data)
        else:
            started = now()
            progress("evaluate", done, len(protocols), protocol.name)
            if features is None:
                features = embeddings(config, store, data, progress)
            result = evaluate(
                features if protocol.text == "none" else _with_text(config, store, data, protocol, features),
                data.evaluation,
                protocol,
                data.layout.permutations(),
                listed=listed_images(config, protocol, data),
                split=config.data.split,
            )
            record = filed(config, store, fit, evaluation_id(config, protocol), result, data, started)
        progress("evaluate", done + 1, len(protocols), protocol.name)
        records.append(record)
    return records


def finished_fit(config: ExperimentConfig, store: Store) -> FitRecord:
    """The fit record of a configuration.

    Raises:
        UserError: it has not been trained.
    """
    record = store.get(fit_id(config))
    if not isinstance(record, FitRecord):
        raise UserError(f"run {fit_id(config)} has not been trained in {store.runs}; run `vireid train` first")
    return record


def embeddings(
    config: ExperimentConfig, store: Store, data: PreparedData, progress: ProgressCallback = silent
) -> FloatArray:
    """Embeddings (N×D) of all evaluation images by the fit's weights, without text.

    Raises:
        UserError: the weights are missing or do not fit the model.
    """
    model, device = trained_model(config, store), device_of(config)
    with keep_freed_memory(device):
        return extract(model, evaluation_loader(config, data, store, progress), device=device)


def _with_text(
    config: ExperimentConfig, store: Store, data: PreparedData, protocol: ProtocolConfig, features: FloatArray
) -> FloatArray:
    """Embeddings in which infrared queries come with text."""
    return with_text(features, trained_model(config, store), evaluation_loader(config, data, store), protocol, config)


def trained_model(config: ExperimentConfig, store: Store) -> Model:
    """The model with the weights of a configuration's fit, on the CPU.

    Raises:
        UserError: it has not been trained, or its weights are gone.
    """
    fit = finished_fit(config, store)
    file = weights_file(store, fit.id)
    if not file.is_file():
        raise UserError(f"{file}: the weights of run {fit.id} are gone; delete {fit.id}.json beside it to train again")
    model = build_model(config, fit.data["identities"], pretrained=False)
    cast(nn.Module, model).load_state_dict(load_file(file))
    return model


def check_same_evaluation_images(record: EvaluationRecord, data: PreparedData) -> None:
    """Refuse to reuse an evaluation whose images, labels or protocol lists have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.fingerprint != data.evaluation_fingerprint:
        raise UserError(
            f"run {record.id} evaluated other images than those under {data.evaluation.root} now (fingerprint "
            f"{record.fingerprint}, now {data.evaluation_fingerprint}); restore the data or use another --store"
        )
    check_lists(record.id, record.lists, data.layout, data.evaluation)


def filed(
    config: ExperimentConfig,
    store: Store,
    fit: FitRecord,
    run: str,
    result: EvaluationResult,
    data: PreparedData,
    started: str,
    artefact: EvaluatedFile | None = None,
) -> EvaluationRecord:
    """Put a result into the store as the record ``run``, with its per-query table."""
    table = io.BytesIO()
    result.per_query.to_parquet(table, index=False)
    file = f"{fit.id}/per_query-{run}.parquet"
    write_atomically(store.runs / file, table.getvalue())
    record = EvaluationRecord(
        id=run,
        status="ok",
        fit=fit.id,
        protocol=result.card,
        metrics=result.metrics,
        metric_units=result.metric_units,
        per_trial=result.per_trial,
        spread=result.spread,
        intervals=result.intervals,
        per_query_file=file,
        per_query_digest=file_digest(store.runs / file),
        fingerprint=data.evaluation_fingerprint,
        lists=evaluation_lists(data.layout, data.evaluation, PROTOCOLS[result.card["name"]], config.data.split),
        artefact=artefact,
        **common(config, started, "trainer", "evaluator"),
    )
    store.put(record)
    return record


def protocol_without_text(config: ExperimentConfig) -> ProtocolConfig:
    """The first protocol in which queries are images alone; where there is none, the first with its text left out."""
    protocols = config.evaluation.protocols
    plain = (protocol for protocol in protocols if protocol.text == "none")
    return next(plain, protocols[0].model_copy(update={"text": "none", "captioner": None}))


def evaluate_again(
    config: ExperimentConfig, protocol: ProtocolConfig, features: FloatArray, data: PreparedData
) -> tuple[EvaluationResult, Trial]:
    """Evaluate a protocol for its ranked lists, which records do not hold; and its first trial."""
    permutations, listed = data.layout.permutations(), listed_images(config, protocol, data)
    result = evaluate(features, data.evaluation, protocol, permutations, listed=listed, split=config.data.split)
    return result, plan_trials(protocol, data.evaluation, permutations, listed)[0]
