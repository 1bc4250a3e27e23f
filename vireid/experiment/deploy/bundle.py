"""Fits, configurations and exported files → a bundle that measures them on another machine."""

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vireid.bundle.write import BundledModel, DeviceCheck, KnownAccuracy, References, write_bundle
from vireid.core.config import parse
from vireid.core.errors import UserError, optional_module
from vireid.core.identity import run_id
from vireid.core.processor import INTEGER_PRECISIONS, kernels_of_runtime
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.core.types import ByteArray
from vireid.experiment.context import RunContext
from vireid.experiment.cost.query_pipeline import infrared_person
from vireid.experiment.deploy.export import export_step
from vireid.experiment.progress import ProgressCallback, silent
from vireid.report.records.keys import data_label, data_note
from vireid.store import Store

REFERENCE_IMAGES = 4  # of a float32 file, which is the same everywhere; an int8 file has those of its check
NEEDED = ("graph", "runtime", "precision", "preprocessing", "resolution", "feature_size", "model", "modality")


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was written."""

    models: list[BundledModel]
    size_bytes: int
    one_sided: list[str]  # names of models whose graph is for infrared images, since visible ones have another


def bundle_step(
    runs: Sequence[RunContext],
    exported: Sequence[Path],
    store: Store,
    target: Path,
    progress: ProgressCallback = silent,
    check: DeviceCheck | None = None,
) -> Bundled:
    """Write a bundle of configurations (float32, the weights of their fits) and of files that were exported before.

    A system with a graph for each modality is bundled with the infrared one, which queries go through. ``check`` is
    what int8 files must reach on the device.

    Raises:
        UserError: nothing to bundle, a file that is not of `vireid export`, or a target that cannot be written.
    """
    models: list[BundledModel] = []
    files: dict[str, bytes] = {}
    every = store.records(lambda row: row.kind == "evaluation")
    evaluations = [record for record in every if isinstance(record, EvaluationRecord)]
    contents = [*_export(runs), *((str(path), _read(path)) for path in exported)]
    if not contents:
        raise UserError("nothing to bundle: name fits, a configuration, or exported files with --file")
    for done, (where, content) in enumerate(contents):
        progress("references", done, len(contents), Path(where).name)
        metadata = _metadata(content, where)
        name = _name(metadata, {model.name for model in models})
        model, references = _describe(name, content, metadata, evaluations, store, check or DeviceCheck())
        models.append(model)
        files |= {model.file: content, **references}
    progress("references", len(contents), len(contents))
    written = write_bundle(target, models, files)
    one_sided = [model.name for model in models if model.modality == "infrared"]
    return Bundled(models, sum(map(len, written.values())), one_sided)


def _export(runs: Sequence[RunContext]) -> list[tuple[str, bytes]]:
    """ONNX files, each checked against PyTorch, of what infrared queries go through."""
    exported = []
    for run in runs:
        with tempfile.TemporaryDirectory(prefix="vireid-bundle-") as name:
            written = export_step(run, Path(name), ["onnx"]).files
            (file,) = [f.path for f in written if f.path.stem in ("model", "model-infrared")]
            exported.append((f"{run.config.model.name}: {file.name}", file.read_bytes()))
    return exported


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"--file {path}: cannot be read ({error.strerror})") from error


def _metadata(content: bytes, where: str) -> dict[str, str]:
    """The metadata of an exported file."""
    onnxruntime = optional_module("onnxruntime", "deploy")
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has many kinds of failure
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{where}: ONNX Runtime cannot read it as an ONNX model ({reason})") from error
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    lacking = [key for key in NEEDED if key not in metadata]
    if lacking:
        raise UserError(f"{where}: does not say its {', '.join(lacking)}; export it with this version of vireid")
    return metadata


def _name(metadata: Mapping[str, str], taken: set[str]) -> str:
    pieces = [
        metadata["model"].rpartition(":")[2],
        metadata["resolution"],
        metadata["precision"],
        metadata["run"][:6] or "initial",
    ]
    name = "-".join(pieces)
    number = 2
    while name in taken:
        name, number = "-".join([*pieces, str(number)]), number + 1
    return name


def _describe(
    name: str,
    content: bytes,
    metadata: Mapping[str, str],
    evaluations: Sequence[EvaluationRecord],
    store: Store,
    check: DeviceCheck,
) -> tuple[BundledModel, dict[str, bytes]]:
    """A model with its references, which are computed here as the device computes them."""
    # The device's own code, which needs onnxruntime: imported where it is known to be there.
    from vireid.bundle.device.network import Network, normalise

    preprocessing = json.loads(metadata["preprocessing"])
    height, width = preprocessing["height"], preprocessing["width"]
    count = check.images if metadata["precision"] in INTEGER_PRECISIONS else REFERENCE_IMAGES
    images = reference_images(height, width, count)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        network = Network(Path(file.name), json.loads(metadata["runtime"]), 1)
        pixels = normalise(images, preprocessing["mean"], preprocessing["std"])
        features = np.concatenate([network(pixel[None]) for pixel in pixels]).astype(np.float32)
    shown = f"references/images-{metadata['resolution']}-{count}.npy"
    paths = References(images=shown, features=f"references/{name}.npy")
    version = optional_module("onnxruntime", "deploy").__version__
    described = {
        "name": name,
        "file": f"models/{name}.onnx",
        "bytes": len(content),
        **{key: metadata[key] for key in ("model", "modality", "dataset", "data_kind", "graph", "precision")},
        "run": metadata["run"] or None,
        "runtime": json.loads(metadata["runtime"]),
        "resolution": (height, width),
        "feature_size": int(metadata["feature_size"]),
        "mean": preprocessing["mean"],
        "std": preprocessing["std"],
        "references": paths,
        "computed_with": {"kernels": kernels_of_runtime("onnxruntime"), "runtime_version": version},
        "check": check,
        "accuracy": known_accuracies(hashlib.sha256(content).hexdigest(), metadata, evaluations, store),
    }
    return parse(BundledModel, described, name), {paths.images: _npy(images), paths.features: _npy(features)}


def reference_images(height: int, width: int, count: int) -> ByteArray:
    """Rendered people in near infrared (a bundle shows nobody), count×H×W, two shots of each one after the other."""
    return np.stack([np.asarray(s.resize((width, height), Image.Resampling.BILINEAR)) for s in _people(count)])


@lru_cache(maxsize=2)
def _people(count: int) -> list[Image.Image]:
    shots = ((person, shot) for person in range(1, count // 2 + 1) for shot in (1, 2))
    return [infrared_person(person, shot)[0].convert("L") for person, shot in shots]


def known_accuracies(
    digest: str, metadata: Mapping[str, str], evaluations: Sequence[EvaluationRecord], store: Store
) -> list[KnownAccuracy]:
    """Evaluations of the file with that SHA-256, or of two files of which it is one, each for one modality's images.

    Of a float32 file also those of the fit whose features it has.

    Those of one forward per image alone: text, re-ranking and averaged views cost what a bundle does not measure.
    """
    of_file = [e for e in evaluations if e.artefact and digest in (e.artefact.digest, *e.artefact.parts.values())]
    of_fit = [
        e for e in evaluations if e.artefact is None and e.fit == metadata["run"] and metadata["precision"] == "fp32"
    ]
    accuracies = [_known(record, store) for record in (*of_file, *of_fit) if "mAP" in record.metrics and _plain(record)]
    return sorted(accuracies, key=lambda known: known.protocol)


def _plain(record: EvaluationRecord) -> bool:
    card = record.card
    return card.is_plain and card.reads_one_image


def _known(record: EvaluationRecord, store: Store) -> KnownAccuracy:
    fit, interval = store.get(record.fit), record.intervals.get("mAP")
    label = data_label(fit) if isinstance(fit, FitRecord) else record.data_kind
    note = data_note(label)
    return KnownAccuracy(
        evaluation=record.id,
        key=run_id([record.card.key, record.fingerprint]),
        protocol=record.card.title,
        mAP=record.metrics["mAP"],
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=None if interval is None else interval.level,
        over=None if interval is None else interval.over,
        note=f"; {note}" if note else "",
        kernels=None if record.artefact is None else record.artefact.kernels,
        runtime_version=None if record.artefact is None else record.artefact.runtime_version,
    )


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
