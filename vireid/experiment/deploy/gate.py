"""The gate of deployed files: one that does not find whom the trained model finds is not written.

A file is compared with the trained model in PyTorch on the evaluation images, dev identities as a rule, prepared as the
file itself says that images are to be prepared.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vireid.config import GateLimits
from vireid.core.errors import UserError, optional_module
from vireid.core.types import FloatArray, Modality
from vireid.data.images import read_image
from vireid.evaluation.extraction import Embedder
from vireid.evaluation.neighbours import nearest
from vireid.experiment.context import RunContext
from vireid.experiment.data import check_same_images
from vireid.experiment.fit import embeddings, evaluate_features
from vireid.experiment.identity import deployed_protocols
from vireid.profiling.export.formats import SECTION
from vireid.profiling.export.write import Exported
from vireid.profiling.layer_loss import LayerLoss
from vireid.profiling.runtimes.executorch import said_by
from vireid.profiling.runtimes.onnxruntime import OrtSession
from vireid.profiling.runtimes.openvino import OpenVinoSession

SHOWN = 5  # layers that a refusal names


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a file is from the model. Fractions."""

    cosine_distance: float  # largest of any query
    rank1: float  # share of queries with the same nearest gallery image
    map_loss: float  # mAP of the model − mAP of the file

    def misses(self, limits: GateLimits) -> list[str]:
        """What is beyond its limit, as a message names it; not a number is."""
        beyond = []
        if not self.cosine_distance <= limits.cosine_distance:
            beyond.append(f"cosine distance up to {self.cosine_distance:.2g} (limit {limits.cosine_distance:g})")
        if not self.rank1 >= limits.rank1:
            beyond.append(f"{100 * self.rank1:.1f} % of queries have the same rank 1 (limit {100 * limits.rank1:g} %)")
        if not self.map_loss <= limits.mAP:
            beyond.append(f"mAP lower by {100 * self.map_loss:.1f} points (limit {100 * limits.mAP:g})")
        return beyond


def agreement(run: RunContext, features: FloatArray, reference: FloatArray) -> Agreement:
    """Compare features (N×D) of the evaluation images with the trained model's."""
    infrared, visible = (run.data.evaluation.modality == int(kind) for kind in (Modality.INFRARED, Modality.VISIBLE))
    ours, theirs = (_unit(each) for each in (features, reference))
    distances = 1 - (ours[infrared] * theirs[infrared]).sum(axis=1)
    first, expected = (nearest(-(unit[infrared] @ unit[visible].T), 1)[:, 0] for unit in (ours, theirs))
    protocol = deployed_protocols(run.config)[0]
    before, after = (evaluate_features(run, each, protocol).metrics["mAP"] for each in (reference, features))
    return Agreement(float(distances.max()), float((first == expected).mean()), before - after)


def features_as_stated(
    run: RunContext, embedders: Mapping[Modality, Embedder], stated: Mapping[str, Any]
) -> FloatArray:
    """Features (N×D) of the evaluation images, each prepared by what a file says of preprocessing."""
    index, rows = run.data.evaluation, []
    for path, kind in zip(index.paths, index.modality, strict=True):
        pixels = prepared(read_image(index.root, str(path)), stated)
        rows.append(torch.as_tensor(embedders[Modality(int(kind))](pixels)))
    return torch.cat(rows).numpy()


def prepared(image: Image.Image, stated: Mapping[str, Any]) -> Tensor:
    """An image (1×3×H×W) as ``preprocessing`` of a file's metadata says.

    Raises:
        UserError: a resize rule that Pillow does not have.
    """
    rule = str(stated["resize"])
    name = rule.removeprefix("pillow-").upper()
    if not rule.startswith("pillow-") or name not in Image.Resampling.__members__:
        raise UserError(f"preprocessing.resize = {rule}: no such rule; the suite's is pillow-bilinear")
    resized = image.resize((stated["width"], stated["height"]), Image.Resampling[name])
    low, high = stated["value_range"]
    pixels = low + np.asarray(resized, np.float32) / 255 * (high - low)
    normalised = (pixels - np.asarray(stated["mean"], np.float32)) / np.asarray(stated["std"], np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)[None]).astype(np.float32))


def stated_preprocessing(path: Path) -> dict[str, Any]:
    """What a deployed file (ONNX, OpenVINO's ``.xml``, ExecuTorch's ``.pte``) says of preprocessing."""
    if path.suffix == ".pte":
        text = said_by(path)["preprocessing"]
    elif path.suffix == ".xml":
        model = optional_module("openvino", "deploy").Core().read_model(path)
        text = model.get_rt_info([SECTION, "preprocessing"]).astype(str)
    else:
        model = optional_module("onnx", "deploy").load(path, load_external_data=False)
        text = {entry.key: entry.value for entry in model.metadata_props}["preprocessing"]
    stated: dict[str, Any] = json.loads(text)
    return stated


def check_exported(run: RunContext, files: Sequence[Exported]) -> None:
    """Refuse float32 files of a fit that are beyond the limits; one graph may stand in several formats.

    Raises:
        UserError: a file is, or the images are not here.
    """
    try:
        check_same_images(run.fit, run.data)
    except UserError as error:
        raise UserError(f"{error}. Files are compared on the evaluation images; --force writes them without") from error
    reference, threads = embeddings(run), torch.get_num_threads()
    for format in ("onnx", "openvino"):
        written = [file.path for file in files if file.format == format]
        if written:
            sessions = {path.stem: _loaded(path, threads) for path in written}
            by_kind = {kind: sessions.get("model") or sessions[f"model-{kind.name.lower()}"] for kind in Modality}
            features = features_as_stated(run, by_kind, stated_preprocessing(written[0]))
            misses = agreement(run, features, reference).misses(run.config.evaluation.gate.fp32)
            refuse(f"{format}, fp32", misses)


def _loaded(path: Path, threads: int) -> Embedder:
    return OpenVinoSession(str(path), threads) if path.suffix == ".xml" else OrtSession(path, threads)


def refuse(where: str, misses: Sequence[str], layers: Sequence[LayerLoss] | None = None) -> None:
    """Stop a file that misses a limit; a quantised one has ``layers``, of which those that lose most are named.

    Raises:
        UserError: there are misses.
    """
    if not misses:
        return
    remedy = "look at preprocessing, weights and versions of the runtime"
    lost = ""
    if layers is not None:
        remedy = "try other settings of quantisation, or another runtime"
    if layers:
        table = "; ".join(f"{n.layer} {n.decibels:.1f} dB, {100 * n.added:.2g} % noise added" for n in layers[:SHOWN])
        lost = f" Of the layers {layers[0].layer} loses most ({table})."
    raise UserError(
        f"{where}: {'; '.join(misses)}, against the trained model in PyTorch. Nothing was written.{lost} To go on, "
        f"{remedy}; --force writes the file all the same, and evaluation.gate sets the limits"
    )


def _unit(features: FloatArray) -> FloatArray:
    wide = np.asarray(features, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny))
