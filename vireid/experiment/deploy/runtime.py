"""A fit in a runtime: its deployed graphs as that runtime's files, ready to embed images as a device would."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, Modality, Model
from vireid.data.cache import cached_images
from vireid.data.transforms import normalise
from vireid.evaluation.extraction import Embedder
from vireid.experiment.context import RunContext
from vireid.experiment.deploy.export import deployed_graphs, latency_keys, metadata
from vireid.experiment.identity import data_kind
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.latency import StoresFiles
from vireid.profiling.quantisation.runtime import Quantising
from vireid.profiling.runtimes.base import Session
from vireid.profiling.runtimes.reasons import unavailable


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
        paths = [path for file in self.files.values() for path in _files_of(file)]
        if len(paths) == 1:
            return file_digest(paths[0])
        listed = "\n".join(f"{path.name} {file_digest(path)}" for path in paths)
        return hashlib.sha256(listed.encode()).hexdigest()

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
