"""Configuration → fit record: training, or the finished record where there is one."""

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
from vireid.experiment import data as images
from vireid.experiment.context import RunContext
from vireid.experiment.data import check_same_images, training_lists
from vireid.experiment.records import check_precisions, device_of, failed_fit, fit_fields, threads_of
from vireid.experiment.reload import remember_root
from vireid.experiment.start import check_start, check_teacher, initialise_from, load_teacher
from vireid.models import MODELS
from vireid.profiling.memory import PeakMemory
from vireid.training.checkpoint import discard_checkpoint
from vireid.training.contracts import Weighting
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
    started = now()
    try:
        check_precisions(run.config)
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
    config, data, device = run.config, run.data, device_of(run.config)
    torch.set_num_threads(threads_of(config))
    loader = images.training_loader(run)
    model = build_model(config, loader.num_classes)
    initialise_from(model, run)
    load_teacher(model, run)
    weighting = build_weighting(config, model)

    def on_step(epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        done = (epoch - 1) * steps + step
        run.progress("train", done, epochs * steps, f"epoch {epoch}/{epochs}, loss {loss:.2f}")

    def evaluate_on_dev(trained: nn.Module, scale: float) -> Mapping[str, float]:
        at_scale = (replace(batch, images=scaled(batch.images, scale)) for batch in images.evaluation_loader(run))
        features = extract(cast(Model, trained), at_scale, device=device)
        protocol = config.evaluation.protocols[0]
        return evaluate(features, data.evaluation, protocol, data.layout.permutations(), split="dev", top_k=0).metrics

    result = run_training(
        model,
        loader,
        config.recipe,
        weighting,
        seed=config.training_seed,
        directory=run.directory,
        resume_key=run.ids.fit,
        device=str(device),
        evaluate=evaluate_on_dev if config.recipe.evaluate_every else None,
        progress=on_step,
        peak_memory=partial(PeakMemory, device),
    )
    fields = fit_fields(run, started)
    fields["data"] = {
        "name": config.data.dataset.name,
        **fields["data"],
        "fingerprint": data.train_fingerprint,
        "lists": training_lists(data.train),
        "images": len(data.train),
        "identities": loader.num_classes,
    }
    return FitRecord(
        status="ok",
        curves=result.curves,
        step_seconds=result.step_seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        seconds=result.seconds,
        **fields,
    )
