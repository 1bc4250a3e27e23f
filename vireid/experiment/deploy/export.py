"""A fit, or a configuration, as files that other runtimes read; what they need to know stands inside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

import vireid
from vireid.config import ExperimentConfig
from vireid.core.records import DataKind, FitRecord
from vireid.core.types import Modality, Model
from vireid.data.cache import RULE
from vireid.data.transforms import MEAN, STD
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import REFERENCE_CLASSES
from vireid.experiment.evaluate import trained_model
from vireid.experiment.fit import build_model
from vireid.experiment.identity import component_specification, data_kind
from vireid.profiling.complexity import artefact_digest, example_images
from vireid.profiling.export.formats import INPUT, OPSET, OUTPUT
from vireid.profiling.export.write import FORMATS, Exported, Format, Graph, export
from vireid.profiling.runtimes.config import OnnxRuntimeConfig
from vireid.profiling.runtimes.onnxruntime import OnnxRuntime

BOTH = "visible and infrared"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and the fit whose weights it has."""

    run: str | None  # None: initial weights
    files: list[Exported]


def export_step(run: RunContext, folder: Path, formats: Sequence[Format] = FORMATS) -> Export:
    """Write the deployed graph of a configuration, with the weights of its fit where the store has that.

    One graph serves both modalities where their weights are the same (``model.*``); else each has its own
    (``model-visible.*``, ``model-infrared.*``).

    Raises:
        UserError: a missing package, features that differ from eager, weights that are gone, an unwritable folder.
    """
    record = run.store.get(run.ids.fit)
    fit = record if isinstance(record, FitRecord) and record.status == "ok" else None
    id_, kind = (None, data_kind(run.config)) if fit is None else (fit.id, fit.data_kind)
    model = build_model(run.config, REFERENCE_CLASSES) if fit is None else trained_model(run)
    cast(nn.Module, model).eval()
    height, width = run.config.data.height, run.config.data.width
    runtime = {**OnnxRuntimeConfig().model_dump(mode="json"), "version": OnnxRuntime.version}
    graphs = {}
    for name, modality, _, module in deployed_graphs(model):
        keys = latency_keys(runtime, "fp32", artefact_digest(module, height, width))
        graphs[name] = Graph(module, height, width, metadata(run.config, module, modality, id_, kind) | keys)
    total, done = len(graphs) * len(formats), iter(range(len(graphs) * len(formats)))
    files = export(graphs, folder, formats, lambda note: run.progress("export", next(done), total, note))
    run.progress("export", total, total)
    return Export(id_, files)


def metadata(
    config: ExperimentConfig, module: nn.Module, modality: str, run: str | None, kind: DataKind
) -> dict[str, str]:
    """Metadata of an exported file; values that are not plain text are JSON."""
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
    }


def latency_keys(runtime: Mapping[str, Any], precision: str, graph: str) -> dict[str, str]:
    """Metadata of a file on the runtime that it is for: the fields by which latency records are looked up."""
    return {"precision": precision, "runtime": json.dumps(runtime, sort_keys=True), "graph": graph}


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two deployed graphs hold the same values under the same names."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def deployed_graphs(model: Model) -> list[tuple[str, str, list[Modality], nn.Module]]:
    """Name of the files, label of the modality, modalities, and graph; one entry where both modalities share it."""
    visible, infrared = (model.deployable(modality) for modality in (Modality.VISIBLE, Modality.INFRARED))
    if same_weights(visible, infrared):
        return [("model", BOTH, list(Modality), infrared)]
    return [
        ("model-visible", "visible", [Modality.VISIBLE], visible),
        ("model-infrared", "infrared", [Modality.INFRARED], infrared),
    ]
