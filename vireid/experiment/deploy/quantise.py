"""A trained fit in int8: settings compared on dev, the nearest to the trained model kept, its file evaluated."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.config import Component, deciding, parse
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.neighbours import Fidelity
from vireid.experiment.context import RunContext
from vireid.experiment.deploy.evaluate import Trained
from vireid.experiment.deploy.export import Deployment
from vireid.experiment.evaluate import evaluate_features
from vireid.experiment.identity import deployed_protocols
from vireid.profiling import RUNTIMES
from vireid.store import unwritable

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
    comparison: dict[str, Any]  # as the record keeps it


def quantise_step(
    run: RunContext, folder: Path, runtimes: Sequence[str], candidates: Sequence[Mapping[str, Any]] = ()
) -> list[Quantised]:
    """Quantise a finished fit for each runtime, write the file into ``folder``, and evaluate that very file.

    Of several settings the one whose features on the dev images have the highest mean cosine to the trained model's is
    kept: accuracy itself decides nothing, as its differences are within the noise of the images. A fit with
    ``data.split=test`` has trained on the dev identities and is evaluated on test ones, so for it a single setting must
    be given.

    Args:
        run: of the fit.
        folder: for the files; made where it does not exist.
        runtimes: ``onnxruntime``, ``openvino``.
        candidates: settings of ``QuantisationConfig`` to compare; ``CANDIDATES`` when empty.

    Raises:
        UserError: no such fit, a quantiser that is missing, no dev images to choose on, an unwritable folder.
    """
    choices = {name: [_runtime(name, given) for given in candidates or CANDIDATES[name]] for name in runtimes}
    if run.config.data.split != "dev" and any(len(options) > 1 for options in choices.values()):
        raise UserError(
            "this fit is evaluated on test identities, on which nothing may be chosen: give one setting by --setting, "
            "such as the one that was best for a fit with data.split=dev"
        )
    trained = Trained(run)
    total, done = sum(map(len, choices.values())), 0
    quantised: list[Quantised] = []
    with tempfile.TemporaryDirectory(prefix="vireid-quantised-") as temporary:
        for name, options in choices.items():
            started, best, compared = now(), None, []
            for option in options:
                run.progress("quantise", done, total, f"{name}: {_label(option)}")
                tried = _try(trained, option, Path(temporary) / str(done))
                done += 1
                compared.append(tried.comparison)
                best = tried if best is None or tried.near.cosine > best.near.cosine else best
            assert best is not None
            files = _keep(best.deployment, folder)
            records = trained.store(best.runtime, best.deployment, best.features, started, compared)
            quantised.append(Quantised(best.runtime, files, compared, records))
        run.progress("quantise", total, total)
    return quantised


def _runtime(name: str, settings: Mapping[str, Any]) -> Component:
    schema = RUNTIMES.config(name)
    config: Component = parse(schema, {"name": name, "precision": "int8", "quantisation": dict(settings)}, "--setting")
    return config


def _try(trained: Trained, option: Component, folder: Path) -> _Tried:
    folder.mkdir()
    deployment = trained.deploy(option, folder)
    features = trained.features(deployment)
    near, protocol = trained.fidelity(features), deployed_protocols(trained.run.config)[0]
    comparison = {
        "quantisation": deciding(option)["quantisation"],
        "cosine": near.cosine,
        "overlap10": near.overlap10,
        "split": trained.run.config.data.split,
        "mAP": evaluate_features(trained.run, features, protocol).metrics["mAP"],
    }
    return _Tried(option, deployment, features, near, comparison)


def _label(option: Component) -> str:
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
