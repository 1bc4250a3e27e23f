"""A fit in other runtimes: its deployed graphs as files that name what they need, loaded as on a device."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import vireid
from vireid.config import ExperimentConfig
from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.records import DataKind, FitRecord
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, Modality, Model
from vireid.data.augmentation import MEAN, STD, normalise
from vireid.data.cache import RULE, cached_images
from vireid.evaluation.extraction import Embedder
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import REFERENCE_CLASSES
from vireid.experiment.fit import build_model, trained_model
from vireid.experiment.identity import component_specification, data_kind
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import artefact_digest, example_images
from vireid.profiling.config import OnnxRuntimeConfig
from vireid.profiling.deployed_file import StoresFiles
from vireid.profiling.export.formats import INPUT, OPSET, OUTPUT
from vireid.profiling.export.write import FORMATS, Exported, Format, Graph, export
from vireid.profiling.runtimes.base import Quantising, Session, unavailable
from vireid.profiling.runtimes.onnxruntime import OnnxRuntime

BOTH = "visible and infrared"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and the fit whose weights it has."""

    run: str | None  # None: initial weights
    files: list[Exported]


def export_step(
    run: RunContext,
    folder: Path,
    formats: Sequence[Format] = FORMATS,
    accept: Callable[[Sequence[Exported]], None] | None = None,
) -> Export:
    """Write the deployed graph of a configuration, with the weights of its fit where the store has that.

    One graph serves both modalities where their weights are the same (``model.*``); else each has its own
    (``model-visible.*``, ``model-infrared.*``). ``accept`` may raise before any file is in its place, as
    ``vireid.experiment.deploy.gate.check_exported`` does.

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
    files = export(graphs, folder, formats, lambda note: run.progress("export", next(done), total, note), accept)
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


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a runtime made of a fit."""

    embedders: Mapping[Modality, Embedder]  # one image after the other, as they come to a device
    files: Mapping[str, Path]  # by the name of the graph: the file, or the folder of files
    runtime: dict[str, Any]  # configuration and version, as latency records have it
    precision: str
    calibration: dict[str, Any] | None

    @property
    def digest(self) -> str:
        """SHA-256 of the file; of several, of their names and digests."""
        listed = [(path.name, file_digest(path)) for file in self.files.values() for path in _files_of(file)]
        if len(listed) == 1:
            return listed[0][1]
        return hashlib.sha256("\n".join(map(" ".join, listed)).encode()).hexdigest()

    @property
    def parts(self) -> dict[str, str]:
        """SHA-256 of each file by graph and name, as ``model-infrared/int8.onnx``, where there are several."""
        listed = [(f"{graph}/{path.name}", path) for graph, file in self.files.items() for path in _files_of(file)]
        return {name: file_digest(path) for name, path in listed} if len(listed) > 1 else {}

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for file in self.files.values() for path in _files_of(file))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Batches of one image (1×3×H×W, float32), and what a record says of them."""

    images: Sequence[FloatArray]
    metadata: dict[str, Any]


def deploy(run: RunContext, model: Model, runtime_config: Component, folder: Path, graph: str) -> Deployment:
    """Write the trained ``model`` in a runtime's own form and load it; int8 is calibrated on training images.

    Args:
        run: of the fit.
        model: trained.
        runtime_config: the runtime.
        folder: an empty one; it must stay as long as the sessions are used.
        graph: digest of the deployed graph.

    Raises:
        UserError: the runtime cannot run here, or has no file of its own.
    """
    config = run.config
    embedders: dict[Modality, Embedder] = {}
    files: dict[str, Path] = {}
    calibrated = None
    for name, modality, serves, module in deployed_graphs(model):
        runtime: Any = RUNTIMES.load(runtime_config.name)(runtime_config)
        precision: str = runtime.precision
        described = {**runtime_config.model_dump(mode="json"), "version": runtime.version}
        if (reason := unavailable(runtime, emulate=config.runtime.emulate)) is not None:
            raise UserError(f"runtime {runtime_config.name}, {precision}: {reason}")
        if not isinstance(runtime, StoresFiles):
            raise UserError(f"runtime {runtime_config.name} has no file of its own; use onnxruntime or openvino")
        if isinstance(runtime, Quantising):
            about = metadata(config, module, modality, run.ids.fit, data_kind(config))
            runtime.metadata = about | latency_keys(described, precision, graph)
            if runtime.quantisation is not None:
                alone = serves[0] if len(serves) == 1 else None
                calibration = calibration_images(run, runtime.quantisation.images, alone)
                runtime.calibration, calibrated = calibration.images, calibration.metadata
        (folder / name).mkdir()
        example = example_images(1, config.data.height, config.data.width)
        files[name] = runtime.store(module, example, folder / name)
        session = runtime.load(files[name], example)
        embedders.update(dict.fromkeys(serves, _one_by_one(session)))
    return Deployment(embedders, files, described, precision, calibrated)


def calibration_images(run: RunContext, count: int, modality: Modality | None = None) -> Calibration:
    """Draw ``count`` training images, half of each modality, without augmentation; fewer where there are not as many.

    They are a function of the configuration's seed. ``modality`` takes all of that one instead, for a graph that serves
    it alone.
    """
    train, size = run.data.train, run.config.data
    modalities = list(Modality) if modality is None else [modality]
    random = generator(run.config.training_seed, "calibration", count)
    drawn = []
    for kind in modalities:
        rows = np.flatnonzero(train.modality == int(kind))
        drawn.append(random.choice(rows, min(len(rows), -(-count // len(modalities))), replace=False))
    chosen = train.select(np.sort(np.concatenate(drawn)))
    pixels = cached_images(chosen, size.height, size.width, run.cache, workers=run.workers)
    images = [normalise(torch.from_numpy(np.array(image)[None])).numpy() for image in pixels]
    metadata = {
        "images": len(images),
        "of": f"training, {' and '.join(kind.name.lower() for kind in modalities)}",
        "fingerprint": run.data.train_fingerprint,
    }
    return Calibration(images, metadata)


def _one_by_one(session: Session) -> Embedder:
    def embed(images: Tensor) -> Tensor:
        return torch.cat([torch.as_tensor(session(image)) for image in torch.split(images, 1)])

    return embed


def _files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
