"""Evaluation forwards that take turns: the released IDKL code's, and the deployed graph of ours in every runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from training.released import ReleasedStep

from vireid.core.errors import UserError
from vireid.core.seeding import seed_everything
from vireid.core.types import Modality
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.models.importers.load import import_state
from vireid.profiling import RUNTIMES
from vireid.profiling.export.formats import check_images
from vireid.profiling.runtimes.onnxruntime import OrtSession
from vireid.profiling.runtimes.openvino import OpenVinoSession

WARM_UP = 3  # calls of every turn that are not timed: the others' turns have emptied the caches
CHECKED = 2  # images whose features are compared
RUNTIMES_OF_OURS: dict[str, dict[str, Any]] = {
    "eager fp32": {"name": "eager"},
    "channels_last fp32": {"name": "channels_last"},
    "compile fp32": {"name": "compile"},
    "onnxruntime fp32": {"name": "onnxruntime"},
    "openvino fp32": {"name": "openvino"},
    "ncnn fp32": {"name": "ncnn"},
    "executorch fp32": {"name": "executorch"},
    "channels_last bf16": {"name": "channels_last", "precision": "bf16"},
    "compile bf16": {"name": "compile", "precision": "bf16"},
    "openvino bf16": {"name": "openvino", "precision": "bf16"},
    "onnxruntime int8": {"name": "onnxruntime", "precision": "int8"},
    "openvino int8": {"name": "openvino", "precision": "int8"},
}


@dataclass(frozen=True)
class Task:
    """What one contestant is to do."""

    name: str  # "released", of ``RUNTIMES_OF_OURS``, or of a file
    height: int
    width: int
    threads: int
    classes: int
    checkout: str | None  # of the released code; its weights are then everybody's
    weights: str  # state dict of the released model; written by "released", read by the others
    file: str | None = None  # an exported artefact with weights of its own


class Contestant:
    """A forward that is ready to run, on one image a call.

    Args:
        run: B×3×H×W → B×D.
        task: its task.
        together: give the images whose features are compared in one batch. The released code wants it: for a single
            image it returns the logits of its classifier instead of the feature.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], task: Task, *, together: bool = False) -> None:
        self._run = run
        self._together = together
        self._image = check_images(1, task.height, task.width)
        self._checked = check_images(CHECKED, task.height, task.width)

    def features(self) -> list[list[float]]:
        """Features of the images that all contestants are compared on."""
        parts = self._checked.split(CHECKED if self._together else 1)
        return [row for part in parts for row in self._run(part).tolist()]

    def turn(self, calls: int) -> list[float]:
        """Seconds of each of ``calls`` forwards, after a warm-up."""
        for _ in range(WARM_UP):
            self._run(self._image)
        seconds = []
        for _ in range(calls):
            begin = time.perf_counter_ns()
            self._run(self._image)
            seconds.append((time.perf_counter_ns() - begin) / 1e9)
        return seconds


def build(task: Task) -> Contestant | str:
    """The contestant of a task, or the reason why it cannot take part here."""
    if task.name == "released":
        return Contestant(_released(task), task, together=True)
    if task.file is not None:
        return Contestant(_of_file(Path(task.file), task.threads), task)
    settings = RUNTIMES_OF_OURS[task.name]
    component = RUNTIMES.load(settings["name"])
    runtime = component(component.Config(**settings))
    reason: str | None = runtime.available()
    if reason is not None:
        return reason
    try:
        return Contestant(runtime.prepare(_deployed(task), check_images(1, task.height, task.width)), task)
    except UserError as error:
        return str(error)


def _released(task: Task) -> Callable[[Tensor], Tensor]:
    """The release's model as its evaluation engine calls it; its weights are kept for the others."""
    assert task.checkout is not None
    seed_everything("benchmark")
    model = ReleasedStep(Path(task.checkout), task.classes).model
    _as_trained(model)
    torch.save({"net": model.state_dict()}, task.weights)
    model.eval()

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = model(images, cam_ids=torch.ones(len(images), dtype=torch.long))
        return result

    return run


def _deployed(task: Task) -> nn.Module:
    """Our shared branch: with the released model's weights where there is a checkout."""
    if task.checkout is not None:
        imported = import_state(Path(task.weights), "idkl").model
        module: nn.Module = imported.deployable(Modality.INFRARED)
        return module
    seed_everything("benchmark")
    model = IDKL(IDKLConfig(), task.classes)
    _as_trained(model)
    return model.deployable(Modality.INFRARED)


def _as_trained(model: nn.Module) -> None:
    """Move running statistics from where they start, so that a norm that was lost would show in the features."""
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.8, 1.25)


def _of_file(file: Path, threads: int) -> Callable[[Tensor], Tensor]:
    """An exported file: ``.onnx`` in ONNX Runtime, ``.xml`` in OpenVINO."""
    if file.suffix == ".onnx":
        return OrtSession(file, threads)
    return OpenVinoSession(str(file), threads)
