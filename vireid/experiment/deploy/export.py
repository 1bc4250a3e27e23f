"""A fit, or a configuration, as files that other runtimes read; what they need to know stands inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

import vireid
from vireid.config import ExperimentConfig
from vireid.core.records import DataKind, FitRecord
from vireid.core.types import Modality, Model
from vireid.data.cache import RULE
from vireid.data.transforms import MEAN, STD
from vireid.experiment.cost.profile import REFERENCE_CLASSES
from vireid.experiment.evaluate import trained_model
from vireid.experiment.fit import build_model
from vireid.experiment.identity import component_specification, data_kind, fit_id
from vireid.experiment.progress import ProgressCallback, silent
from vireid.profiling.complexity import artefact_digest, example_images
from vireid.profiling.export.formats import INPUT, OPSET, OUTPUT
from vireid.profiling.export.write import FORMATS, Exported, Format, Graph, export
from vireid.profiling.runtimes.config import OnnxRuntimeConfig
from vireid.profiling.runtimes.onnxruntime import OnnxRuntime
from vireid.store import Store

BOTH = "visible and infrared"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and the fit whose weights it has."""

    run: str | None  # None: initial weights
    files: list[Exported]


def export_step(
    config: ExperimentConfig,
    store: Store,
    folder: Path,
    formats: Sequence[Format] = FORMATS,
    progress: ProgressCallback = silent,
) -> Export:
    """Write the deployed graph of a configuration, with the weights of its fit where the store has that.

    One graph serves both modalities where their weights are the same (``model.*``); else each has its own
    (``model-visible.*``, ``model-infrared.*``).

    Raises:
        UserError: a missing package, features that differ from eager, weights that are gone, an unwritable folder.
    """
    fit = store.get(fit_id(config))
    found = fit if isinstance(fit, FitRecord) and fit.status == "ok" else None
    run, kind = (None, data_kind(config)) if found is None else (found.id, found.data_kind)
    model = build_model(config, REFERENCE_CLASSES) if run is None else trained_model(config, store)
    cast(nn.Module, model).eval()
    height, width = config.data.height, config.data.width
    graphs = {
        name: Graph(module, height, width, metadata(config, module, modality, run, kind))
        for name, modality, _, module in deployed_graphs(model)
    }
    total, done = len(graphs) * len(formats), iter(range(len(graphs) * len(formats)))
    files = export(graphs, folder, formats, lambda note: progress("export", next(done), total, note))
    progress("export", total, total)
    return Export(run, files)


def metadata(
    config: ExperimentConfig, module: nn.Module, modality: str, run: str | None, kind: DataKind
) -> dict[str, str]:
    """What a file says of itself; values that are not plain text are JSON."""
    height, width = config.data.height, config.data.width
    with torch.inference_mode():
        features = int(module(example_images(1, height, width)).shape[1])
    preprocessing = {
        "channels": "RGB",  # of grey images three equal ones
        "layout": "NCHW",
        "dtype": "float32",
        "resize": RULE,
        "height": height,
        "width": width,
        "value_range": [0, 1],  # before mean and deviation: bytes divided by 255
        "mean": list(MEAN),
        "std": list(STD),
    }
    return {
        "vireid_version": vireid.__version__,
        "model": config.model.name,
        "model_config": json.dumps(component_specification("model", config.model), sort_keys=True),
        "run": run or "",
        "weights": "of the run" if run else f"initial, seed {config.seed}",
        "data_kind": kind,
        "dataset": config.data.dataset.name,
        "modality": modality,
        "preprocessing": json.dumps(preprocessing, sort_keys=True),
        "resolution": f"{height}x{width}",
        "feature_size": str(features),
        "feature": "after the neck, not L2-normalised",
        "input": INPUT,
        "output": OUTPUT,
        "batch": "any",
        "opset": str(OPSET),
        **latency_keys(module, height, width),
    }


def latency_keys(module: nn.Module, height: int, width: int) -> dict[str, str]:
    """What latency records of this graph's ONNX file in float32 are filed under."""
    runtime = {**OnnxRuntimeConfig().model_dump(mode="json"), "version": OnnxRuntime.version}
    return {
        "precision": "fp32",
        "runtime": json.dumps(runtime, sort_keys=True),
        "graph": artefact_digest(module, height, width),
    }


def deployed_graphs(model: Model) -> list[tuple[str, str, list[Modality], nn.Module]]:
    """Name of the files, modality in words, modalities, and graph; one entry where both modalities share it."""
    visible, infrared = (model.deployable(modality) for modality in (Modality.VISIBLE, Modality.INFRARED))
    first, second = visible.state_dict(), infrared.state_dict()
    if first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first):
        return [("model", BOTH, list(Modality), infrared)]
    return [
        ("model-visible", "visible", [Modality.VISIBLE], visible),
        ("model-infrared", "infrared", [Modality.INFRARED], infrared),
    ]
