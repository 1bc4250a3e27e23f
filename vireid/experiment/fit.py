"""Configuration → fit record: training, or the finished record where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from vireid.config import ExperimentConfig
from vireid.core.errors import UserError
from vireid.core.files import to_read
from vireid.core.records import FitRecord, now
from vireid.core.seeding import seed_everything
from vireid.core.types import Model
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.extraction import extract
from vireid.experiment.data import (
    PreparedData,
    build_curriculum,
    check_protocols,
    decode_all,
    evaluation_loader,
    prepare,
    training_loader,
)
from vireid.experiment.device import check_precisions, device_of, threads_of
from vireid.experiment.identity import data_specification, fit_id, fit_specification, rendered
from vireid.experiment.lists import check_lists, training_lists
from vireid.experiment.progress import ProgressCallback, silent
from vireid.experiment.records import common, failed_fit
from vireid.experiment.roots import remember_root
from vireid.experiment.start import bring_start, check_start
from vireid.experiment.teacher import bring_teacher, check_teacher
from vireid.models import MODELS
from vireid.profiling.memory import PeakMemory
from vireid.store import Store
from vireid.training.checkpoint import discard_checkpoint
from vireid.training.contracts import Weighting
from vireid.training.loop import fit as run_training
from vireid.training.resize import scaled
from vireid.weighting import WEIGHTINGS


def fit_step(config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> FitRecord:
    """Train a configuration, or return its finished record after checking that the images are still the same.

    A broken attempt takes up at its last checkpoint. A failing one leaves a failed record.

    Raises:
        UserError: bad data, no such teacher, a diverging loss, or data that differ from those of the finished record.
    """
    record = store.get(fit_id(config))
    if isinstance(record, FitRecord):
        check_same_images(record, prepare(config, store, progress))
        remember_root(config, store, record.id)
        return record
    started = now()
    try:
        check_precisions(config)
        check_teacher(config, store)
        check_start(config, store)
        data = prepare(config, store, progress)
        check_protocols(config, data)
        decode_all(config, data, store, progress)
        record = _train(config, store, data, started, progress)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        store.put(failed_fit(config, reason, started))
        raise
    store.put(record)
    remember_root(config, store, record.id)
    discard_checkpoint(store.directory(record.id))
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
    return cast(Weighting, build_curriculum(config).wrap(weighting))


def weights_file(store: Store, fit: str) -> Path:
    """Where a finished fit's weights lie."""
    return store.directory(fit) / "model.safetensors"


def check_same_images(record: FitRecord, data: PreparedData) -> None:
    """Refuse to reuse a fit whose training images or labels have changed on disk since.

    Raises:
        UserError: they have.
    """
    if record.data["fingerprint"] != data.train_fingerprint:
        raise UserError(
            f"run {record.id} was trained on other images than those under {data.train.root} now (fingerprint "
            f"{record.data['fingerprint']}, now {data.train_fingerprint}); restore the data or use another --store"
        )
    check_lists(record.id, record.data.get("lists", {}), data.layout, data.train)


def _train(
    config: ExperimentConfig, store: Store, data: PreparedData, started: str, progress: ProgressCallback
) -> FitRecord:
    torch.set_num_threads(threads_of(config))
    loader = training_loader(config, data, store, progress)
    model = build_model(config, loader.num_classes)
    bring_start(model, config, store)
    bring_teacher(model, config, store, data.train_fingerprint)
    weighting = build_weighting(config, model)
    run = fit_id(config)

    def on_step(epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        progress("train", (epoch - 1) * steps + step, epochs * steps, f"epoch {epoch}/{epochs}, loss {loss:.2f}")

    def evaluate_on_dev(trained: nn.Module, scale: float) -> Mapping[str, float]:
        batches = evaluation_loader(config, data, store)
        at_scale = (replace(batch, images=scaled(batch.images, scale)) for batch in batches)
        features = extract(cast(Model, trained), at_scale, device=device_of(config))
        protocol = config.evaluation.protocols[0]
        return evaluate(features, data.evaluation, protocol, data.layout.permutations(), split="dev", top_k=0).metrics

    result = run_training(
        model,
        loader,
        config.recipe,
        weighting,
        seed=config.training_seed,
        directory=store.directory(run),
        resume_key=run,
        device=str(device_of(config)),
        evaluate=evaluate_on_dev if config.recipe.evaluate_every else None,
        progress=on_step,
        peak_memory=partial(PeakMemory, device_of(config)),
    )
    return FitRecord(
        id=run,
        status="ok",
        config=fit_specification(config),
        seed=config.seed,
        data={
            "name": config.data.dataset.name,
            "specification": {**data_specification(config), "synthetic": rendered(config)},
            "fingerprint": data.train_fingerprint,
            "lists": training_lists(data.train),
            "images": len(data.train),
            "identities": loader.num_classes,
        },
        curves=result.curves,
        step_seconds=result.step_seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        seconds=result.seconds,
        **common(config, started, "trainer"),
    )
