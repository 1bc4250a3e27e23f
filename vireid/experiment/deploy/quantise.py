"""A trained fit in int8: settings compared on dev, the nearest to the trained model kept, its file evaluated."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.config import ExperimentConfig
from vireid.core.config import Component, deciding, parse
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.fidelity import Fidelity, fidelity
from vireid.experiment.deploy.evaluate import Trained
from vireid.experiment.deploy.runtime import Deployment
from vireid.experiment.identity import deployed_protocols
from vireid.experiment.progress import ProgressCallback, silent
from vireid.profiling import RUNTIMES
from vireid.store import Store, unwritable

# What is compared where nothing else is asked for. ONNX Runtime's kernels take unsigned activations, which asymmetric
# ranges are; symmetric ones run several times slower there.
CANDIDATES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "openvino": ({}, {"quantiser": "nncf"}, {"quantiser": "nncf", "activations": "symmetric"}),
    "onnxruntime": ({}, {"quantiser": "nncf"}, {"quantiser": "nncf", "ranges": "percentile"}),
}


@dataclass(frozen=True, slots=True)
class Quantised:
    """One runtime's file, what it was chosen among, and its records."""

    runtime: Component
    files: list[Path]
    candidates: list[dict[str, Any]]
    records: list[EvaluationRecord]


@dataclass(frozen=True, slots=True)
class _Tried:
    runtime: Component
    deployment: Deployment
    features: FloatArray
    near: Fidelity
    said: dict[str, Any]


def quantise_step(
    config: ExperimentConfig,
    store: Store,
    folder: Path,
    runtimes: Sequence[str],
    candidates: Sequence[Mapping[str, Any]] = (),
    progress: ProgressCallback = silent,
) -> list[Quantised]:
    """Quantise a finished fit for each runtime, write the file into ``folder``, and evaluate that very file.

    Of several settings the one whose features on the dev images have the highest mean cosine to the trained model's is
    kept: accuracy itself decides nothing, as its differences are within the noise of the images. A fit with
    ``data.split=test`` has trained on the dev identities and is evaluated on test ones, so for it a single setting must
    be given.

    Args:
        config: of the fit.
        store: where it lies.
        folder: for the files; made where it does not exist.
        runtimes: ``onnxruntime``, ``openvino``.
        candidates: settings of ``QuantisationConfig`` to compare; ``CANDIDATES`` when empty.
        progress: told how far it is.

    Raises:
        UserError: no such fit, a quantiser that is missing, no dev images to choose on, an unwritable folder.
    """
    choices = {name: [_runtime(name, given) for given in candidates or CANDIDATES[name]] for name in runtimes}
    if config.data.split != "dev" and any(len(options) > 1 for options in choices.values()):
        raise UserError(
            "this fit is evaluated on test identities, on which nothing may be chosen: give one setting by --setting, "
            "such as the one that was best for a fit with data.split=dev"
        )
    trained = Trained(config, store, progress)
    total, done = sum(map(len, choices.values())), 0
    found: list[Quantised] = []
    with tempfile.TemporaryDirectory(prefix="vireid-quantised-") as place:
        for name, options in choices.items():
            started, best, said = now(), None, []
            for option in options:
                progress("quantise", done, total, f"{name}: {_in_words(option)}")
                tried = _try(trained, option, Path(place) / str(done))
                done += 1
                said.append(tried.said)
                best = tried if best is None or tried.near.cosine > best.near.cosine else best
            assert best is not None
            files = _keep(best.deployment, folder)
            artefact = trained.file(best.deployment, best.features, said)
            records = trained.record(best.runtime, best.features, artefact, started)
            found.append(Quantised(best.runtime, files, said, records))
        progress("quantise", total, total)
    return found


def _runtime(name: str, settings: Mapping[str, Any]) -> Component:
    schema = RUNTIMES.config(name)
    config: Component = parse(schema, {"name": name, "precision": "int8", "quantisation": dict(settings)}, "--setting")
    return config


def _try(trained: Trained, option: Component, folder: Path) -> _Tried:
    folder.mkdir()
    deployment = trained.deploy(option, folder)
    features = trained.features(deployment)
    near = fidelity(features, trained.reference, trained.data.evaluation.modality)
    protocol = deployed_protocols(trained.config)[0]
    said = {
        "quantisation": deciding(option)["quantisation"],
        "cosine": near.cosine,
        "overlap10": near.overlap10,
        "split": trained.config.data.split,
        "mAP": trained.score(features, protocol).metrics["mAP"],
    }
    return _Tried(option, deployment, features, near, said)


def _in_words(option: Component) -> str:
    settings = deciding(option)["quantisation"]
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "defaults"


def _keep(deployment: Deployment, folder: Path) -> list[Path]:
    """Copy the files beside each other: ``<graph>-int8.onnx``, ``<graph>-int8.xml`` with ``.bin``."""
    kept: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in deployment.files.items():
            for part in [file] if file.is_file() else sorted(file.iterdir()):
                target = folder / f"{name}-int8{part.suffix}"
                partial = target.with_name(f".{target.name}.part")
                shutil.copyfile(part, partial)
                partial.replace(target)
                kept.append(target)
    except OSError as error:
        raise unwritable(folder, error) from error
    return kept
