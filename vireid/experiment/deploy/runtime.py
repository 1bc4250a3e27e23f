"""A fit in a runtime: its deployed graphs as that runtime's files, ready to embed images as a device would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vireid.config import ExperimentConfig
from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.files import file_digest
from vireid.core.types import Modality, Model
from vireid.evaluation.extraction import Embedder
from vireid.experiment.data import PreparedData
from vireid.experiment.deploy.calibration import calibration_images
from vireid.experiment.deploy.export import deployed_graphs, metadata
from vireid.experiment.identity import data_kind, fit_id
from vireid.profiling import RUNTIMES
from vireid.profiling.complexity import example_images
from vireid.profiling.latency import StoresFiles
from vireid.profiling.quantisation.runtime import Quantising
from vireid.profiling.runtimes.base import Session
from vireid.profiling.runtimes.reasons import unavailable
from vireid.store import Store


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


def deploy(
    config: ExperimentConfig,
    store: Store,
    data: PreparedData,
    model: Model,
    runtime_config: Component,
    folder: Path,
    graph: str,
) -> Deployment:
    """Write the trained ``model`` in a runtime's own form and load it; int8 is calibrated on training images.

    Args:
        config: of the fit.
        store: where decoded images are kept.
        data: its images.
        model: trained.
        runtime_config: the runtime.
        folder: an empty one; it must stay as long as the sessions are used.
        graph: digest of the deployed graph.

    Raises:
        UserError: the runtime cannot run here, or has no file of its own.
    """
    embedders: dict[Modality, Embedder] = {}
    files: dict[str, Path] = {}
    said = None
    for name, modality, serves, module in deployed_graphs(model):
        runtime: Any = RUNTIMES.load(runtime_config.name)(runtime_config)
        precision: str = runtime.precision
        described = {**runtime_config.model_dump(mode="json"), "version": runtime.version}
        if (reason := unavailable(runtime, emulate=config.runtime.emulate)) is not None:
            raise UserError(f"runtime {runtime_config.name}, {precision}: {reason}")
        if not isinstance(runtime, StoresFiles):
            raise UserError(f"runtime {runtime_config.name} has no file of its own; use onnxruntime or openvino")
        if isinstance(runtime, Quantising):
            own = file_metadata(described, precision, graph)
            runtime.metadata = {**metadata(config, module, modality, fit_id(config), data_kind(config)), **own}
            if runtime.quantisation is not None:
                alone = serves[0] if len(serves) == 1 else None
                calibration = calibration_images(config, data, store, runtime.quantisation.images, alone)
                runtime.calibration, said = calibration.images, calibration.said
        place = folder / name
        place.mkdir()
        example = example_images(1, config.data.height, config.data.width)
        files[name] = runtime.store(module, example, place)
        session = runtime.load(files[name], example)
        embedders.update(dict.fromkeys(serves, _one_by_one(session)))
    return Deployment(embedders, files, described, precision, said)


def file_metadata(runtime: Mapping[str, Any], precision: str, graph: str) -> dict[str, str]:
    """What a file says of the runtime that it is for: the fields by which latency records are found."""
    return {"precision": precision, "runtime": json.dumps(runtime, sort_keys=True), "graph": graph}


def _one_by_one(session: Session) -> Embedder:
    def embed(images: Tensor) -> Tensor:
        return torch.cat([torch.as_tensor(session(image)) for image in torch.split(images, 1)])

    return embed


def _files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
