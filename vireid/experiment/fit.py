"""Configuration → fit record, and fit → evaluation records."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.files import to_read
from vireid.core.records import EvaluatedFile, EvaluationRecord, FitRecord, now
from vireid.core.seeding import generator, seed_everything
from vireid.core.types import FloatArray, ImageIndex, Modality, Model
from vireid.data.captions import read_captions
from vireid.data.loader import EvaluationLoader
from vireid.data.shares import WHOLE, Share
from vireid.evaluation.evaluate import EvaluationResult, evaluate
from vireid.evaluation.extraction import extract
from vireid.evaluation.mirror import with_mirror
from vireid.evaluation.protocols import PROTOCOLS, ProtocolConfig
from vireid.evaluation.scorers import modality_ensemble
from vireid.evaluation.test_time import ModelProtocol, TestTimeRule
from vireid.experiment import data as images
from vireid.experiment.context import RunContext
from vireid.experiment.data import check_same_images, corrupted_loader, evaluation_loader, listed_images
from vireid.experiment.imported import origin_entries, refuse_training
from vireid.experiment.processes import check_processes, train_in_processes
from vireid.experiment.records import (
    check_precisions,
    common,
    device_of,
    failed_fit,
    threads_of,
    write_per_query,
)
from vireid.experiment.reload import kept_weights, remember_root
from vireid.experiment.start import check_start, check_teacher, initialise_from, load_teacher
from vireid.experiment.tracking import tracked
from vireid.models import MODELS
from vireid.profiling.memory import PeakMemory
from vireid.training.allocator import keep_freed_memory
from vireid.training.checkpoint import discard_checkpoint
from vireid.training.contracts import FitResult, Weighting
from vireid.training.loop import fit as run_training
from vireid.training.resize import scaled
from vireid.weighting import WEIGHTINGS


def fit_step(run: RunContext) -> FitRecord:
    """Train a configuration, or return its finished record after checking that the images are still the same.

    A broken attempt takes up at its last checkpoint. A failing one leaves a failed record.

    Raises:
        UserError: bad data, no such teacher, a diverging loss, or data that differ from those of the finished record.
    """
    record = run.store.get(run.ids.fit)
    if isinstance(record, FitRecord):
        check_same_images(record, run.data)
        remember_root(run)
        return record
    refuse_training(run)
    started = now()
    try:
        check_precisions(run.config)
        check_processes(run.config)
        check_teacher(run)
        check_start(run)
        for protocol in run.config.evaluation.protocols:
            images.trials_of(run, protocol)  # none should be found impossible when training has ended
        images.data_step(run)
        record = _train(run, started)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        run.store.put(failed_fit(run, reason, started))
        raise
    run.store.put(record)
    remember_root(run)
    discard_checkpoint(run.directory)
    return record


def build_model(config: ExperimentConfig, num_classes: int, *, pretrained: bool = True) -> Model:
    """Build the model with its initial weights, a function of the seed and of the files that the configuration names.

    With ``pretrained=False`` those files are left alone: for a model whose weights come from a fit, or do not matter.
    """
    settings = config.model
    if pretrained:
        settings = to_read(settings, "model")
    else:
        settings = settings.model_copy(update={name: None for name, value in settings if isinstance(value, Path)})
    seed_everything(config.training_seed, "initial weights")
    model: Model = MODELS.load(settings.name)(settings, num_classes)
    return model


def build_weighting(config: ExperimentConfig, model: Model) -> Weighting:
    """What makes one loss of the model's terms, under the curriculum.

    Raises:
        UserError: terms that the configuration names and the model does not have.
    """
    weighting = WEIGHTINGS.load(config.weighting.name)(config.weighting, model.default_weights())
    return cast(Weighting, images.build_curriculum(config).wrap(weighting))


def _train(run: RunContext, started: str) -> FitRecord:
    result = train_model(run) if run.config.runtime.processes == 1 else train_in_processes(run)
    return FitRecord(
        status="ok",
        curves=result.curves,
        step_seconds=result.step_seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        seconds=result.seconds,
        **images.finished_fields(run, started, run.data.train.num_identities),
    )


def train_model(run: RunContext, share: Share = WHOLE) -> FitResult:
    """Train a configuration in this process, or its share of it among several, which then all call this.

    Raises:
        UserError: as ``vireid.training.loop.fit``; a teacher or a start that does not fit.
    """
    config, data, device = run.config, run.data, device_of(run.config)
    torch.set_num_threads(threads_of(config))
    loader = images.training_loader(run, share)
    model = build_model(config, loader.num_classes)
    initialise_from(model, run)
    load_teacher(model, run)
    weighting = build_weighting(config, model)

    def on_step(epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        done = (epoch - 1) * steps + step
        run.progress("train", done, epochs * steps, f"epoch {epoch}/{epochs}, loss {loss:.2f}")

    def evaluate_on_dev(trained: nn.Module, scale: float) -> Mapping[str, float]:
        at_scale = (
            replace(batch, images=scaled(batch.images, scale)) for batch in images.evaluation_loader(run, data.dev)
        )
        features = extract(cast(Model, trained), at_scale, device=device)
        protocol = config.evaluation.protocols[0]
        return evaluate(features, data.dev, protocol, data.layout.permutations(), split="dev", top_k=0).metrics

    with tracked(run) if share.index == 0 else nullcontext() as tracker:
        return run_training(
            model,
            loader,
            config.recipe,
            weighting,
            seed=config.training_seed,
            directory=run.directory,
            resume_key=run.ids.fit,
            device=str(device),
            batch_norm=config.runtime.batch_norm,
            evaluate=evaluate_on_dev if config.recipe.evaluate_every else None,
            on_epoch=None if tracker is None else tracker.epoch,
            progress=on_step,
            peak_memory=partial(PeakMemory, device),
        )


def evaluate_step(run: RunContext) -> list[EvaluationRecord]:
    """Evaluate a finished fit under every protocol of the configuration; finished records are reused.

    Raises:
        UserError: the fit does not exist, its images or weights are gone or changed.
    """
    images.check_same_images(run.fit, run.data)
    remember_root(run)
    features: dict[TestTimeRule, FloatArray] = {}
    records, fresh = [], []
    protocols = run.config.evaluation.protocols
    for done, protocol in enumerate(protocols):
        record = run.store.get(run.ids.evaluation(protocol))
        if isinstance(record, EvaluationRecord):
            images.check_same_evaluation_images(record, run.data)
        else:
            started = now()
            run.progress("evaluate", done, len(protocols), protocol.name)
            if protocol.test_time not in features:
                features[protocol.test_time] = embeddings(run, protocol.test_time)
            ranked, digest = features[protocol.test_time], None
            if protocol.corruption is not None:
                ranked, digest = with_corruption(run, ranked, protocol)
            if protocol.text != "none":
                ranked = with_text(run, ranked, trained_model(run), protocol)
            result = evaluate_features(run, ranked, protocol)
            record = store_evaluation(run, run.ids.evaluation(protocol), result, started, corrupted_digest=digest)
            fresh.append(record)
        run.progress("evaluate", done + 1, len(protocols), protocol.name)
        records.append(record)
    if fresh:
        with tracked(run) as tracker:
            for record in fresh:
                tracker.scores(record.card.title, record.metrics)
    return records


def embeddings(run: RunContext, rule: TestTimeRule = "none", loader: EvaluationLoader | None = None) -> FloatArray:
    """Embeddings (N×D) of all evaluation images by the fit's weights under a rule for test time, without text.

    Args:
        run: of a finished fit.
        rule: which passes over an image make its embedding.
        loader: of other images than the evaluation images as they are.

    Raises:
        UserError: the weights are missing or do not fit the model.
    """
    model, device = trained_model(run), device_of(run.config)
    maps = MODELS.declared(run.config.model.name, "embedding_maps", ()) or ("embedding",)
    with keep_freed_memory(device):
        embedder = model if rule == "none" else with_mirror(model, rule, maps)
        return extract(embedder, evaluation_loader(run) if loader is None else loader, device=device)


def with_corruption(run: RunContext, features: FloatArray, protocol: ModelProtocol) -> tuple[FloatArray, str]:
    """``features`` (N×D) of the evaluation images, with those of corrupted images in place; and the images' digest.

    Raises:
        UserError: an image or the weights are missing, or the image cache has no room.
    """
    assert protocol.corruption is not None
    modalities = [int(modality) for modality in protocol.corruption.modalities(protocol)]
    rows = np.flatnonzero(np.isin(run.data.evaluation.modality, modalities))
    loader, digest = corrupted_loader(run, protocol, rows)
    result = np.array(features)
    result[rows] = embeddings(run, protocol.test_time, loader)
    return result, digest


def trained_model(run: RunContext) -> Model:
    """The model with the weights of a configuration's fit, on the CPU.

    Raises:
        UserError: it has not been trained, or its weights are gone.
    """
    file = kept_weights(run.store, run.fit.id)
    model = build_model(run.config, run.fit.data["identities"], pretrained=False)
    cast(nn.Module, model).load_state_dict(load_file(file))
    return model


def evaluate_features(run: RunContext, features: FloatArray, protocol: ModelProtocol) -> EvaluationResult:
    """Evaluate features (N×D) of the evaluation images under a protocol, by whose rules for test time they are made."""
    data, listed = run.data, listed_images(run, protocol)
    permutations, split = data.layout.permutations(), run.config.data.split
    result = evaluate(
        features,
        data.evaluation,
        protocol,
        permutations,
        listed=listed,
        split=split,
        test_time_augmentation=protocol.test_time,
    )
    further = {} if protocol.corruption is None else {"corruption": protocol.corruption.card_entry}
    return replace(result, card={**result.card, **origin_entries(run), **further})


def store_evaluation(
    run: RunContext,
    id_: str,
    result: EvaluationResult,
    started: str,
    *,
    artefact: EvaluatedFile | None = None,
    corrupted_digest: str | None = None,
) -> EvaluationRecord:
    """Put a result into the store as the record ``id_``, with its per-query table."""
    data, spec = run.data, PROTOCOLS[result.card["name"]]
    made_by = ["trainer", "evaluator", *([] if corrupted_digest is None else ["corruption"])]
    record = EvaluationRecord(
        id=id_,
        status="ok",
        fit=run.fit.id,
        protocol=result.card,
        metrics=result.metrics,
        metric_units=result.metric_units,
        per_trial=result.per_trial,
        spread=result.spread,
        intervals=result.intervals,
        fingerprint=data.evaluation_fingerprint,
        lists=images.evaluation_lists(data.layout, data.evaluation, spec, run.config.data.split),
        artefact=artefact,
        corrupted_digest=corrupted_digest,
        **write_per_query(run.store, run.fit.id, id_, result.per_query),
        **common(run.config, started, *made_by),
    )
    run.store.put(record)
    return record


def with_text(run: RunContext, features: FloatArray, model: Any, protocol: ProtocolConfig) -> FloatArray:
    """``features`` of the evaluation images, those of infrared ones replaced by what text makes of them.

    Args:
        run: its configuration says how the model joins a query's features.
        features: N×D, of the images alone.
        model: one that has ``describe``, as TVI-LFM does.
        protocol: one with text.

    Raises:
        UserError: captions that the protocol needs are missing, or a model without text.
    """
    config, loader = run.config, evaluation_loader(run)
    index = loader.index
    descriptions, captions = texts(index, protocol), index.captions or ("",) * len(index)
    result, device, start = np.array(features), device_of(config), 0
    cast(nn.Module, model).to(device).eval()
    with torch.inference_mode():
        for batch in loader:
            rows = (start + np.flatnonzero(batch.infrared.numpy())).tolist()
            start += len(batch)
            if not rows:
                continue
            images = batch.images[batch.infrared].to(device)
            views = model.describe(images, [descriptions[row] for row in rows], [captions[row] for row in rows])
            joined = modality_ensemble(views.values()) if config.model.retrieval == "ensemble" else views["fused"]
            result[rows] = joined.float().cpu().numpy()
    return result


def texts(index: ImageIndex, protocol: ProtocolConfig) -> Sequence[str]:
    """A description of every infrared image of ``index`` under a protocol with text; empty for the others.

    ``query``: the image's caption in the protocol's folder. ``oracle``: a caption of one of the visible images of its
    true identity, drawn by the query's path, so that a query has the same text in every trial.

    Raises:
        UserError: captions are missing.
    """
    assert protocol.captions is not None
    descriptions = [""] * len(index)
    queries = np.flatnonzero(index.modality == Modality.INFRARED)
    if protocol.text == "query":
        described = read_captions(index.root, protocol.captions, [index.paths[row] for row in queries]).descriptions
        for row, caption in zip(queries.tolist(), described, strict=True):
            descriptions[row] = caption
        return descriptions
    visible = np.flatnonzero(index.modality == Modality.VISIBLE)
    captions = read_captions(index.root, protocol.captions, [index.paths[row] for row in visible]).descriptions
    of_identity: dict[int, list[str]] = {}
    for row, caption in zip(visible.tolist(), captions, strict=True):
        of_identity.setdefault(int(index.identity[row]), []).append(caption)
    for row in queries.tolist():
        choices = of_identity.get(int(index.identity[row]), ["a person"])
        descriptions[row] = choices[int(generator("oracle caption", index.paths[row]).integers(len(choices)))]
    return descriptions
