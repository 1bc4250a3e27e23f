"""A fit in other runtimes, evaluated: what a runtime makes of it, quantised where asked, embeds and is scored."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vireid.core.config import Component, deciding, parse
from vireid.core.errors import UserError
from vireid.core.processor import SATURATING, IntegerKernels, kernels_of_runtime
from vireid.core.records import EvaluatedFile, EvaluationRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.extraction import extract
from vireid.evaluation.neighbours import Fidelity, fidelity
from vireid.experiment import fit as evaluation
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.data import check_same_evaluation_images, check_same_images, evaluation_loader
from vireid.experiment.deploy.export import Deployment, calibration_images, deploy, deployed_graphs
from vireid.experiment.deploy.gate import agreement, features_as_stated, refuse, stated_preprocessing
from vireid.experiment.fit import evaluate_features
from vireid.experiment.identity import computed_with, deployed_protocols, runtime_version
from vireid.profiling import RUNTIMES
from vireid.profiling.config import QuantisationConfig
from vireid.profiling.export.formats import onnx_bytes
from vireid.profiling.layer_loss import LayerLoss, layer_losses
from vireid.profiling.quantisation import quantise_onnx
from vireid.store import unwritable


class Trained:
    """A finished fit with its deployed graph, and its features in PyTorch once they are asked for.

    Raises:
        UserError: it has not been trained, or its images have changed.
    """

    def __init__(self, run: RunContext) -> None:
        self.run = run
        check_same_images(run.fit, run.data)
        graph = cost_step(run).artefact
        if graph is None:
            raise UserError(f"run {run.fit.id}: its deployed graph has no digest to file results under")
        self.graph: str = graph

    @cached_property
    def reference(self) -> FloatArray:
        """Features (N×D) of the evaluation images by the trained model in eager PyTorch."""
        self.run.progress("features in PyTorch", 0, 1)
        features = evaluation.embeddings(self.run)
        self.run.progress("features in PyTorch", 1, 1)
        return features

    def deploy(self, runtime: Component, folder: Path) -> Deployment:
        """The fit in a runtime, its files in an empty ``folder``, which must stay while they are used."""
        return deploy(self.run, evaluation.trained_model(self.run), runtime, folder, self.graph)

    def features(self, deployment: Deployment) -> FloatArray:
        """Features (N×D) of the evaluation images by a deployment, one image at a time."""
        return extract(deployment.embedders, evaluation_loader(self.run))

    def fidelity(self, features: FloatArray) -> Fidelity:
        """How near a deployment's features are to the trained model's."""
        return fidelity(features, self.reference, self.run.data.evaluation.modality)

    def store(
        self,
        runtime: Component,
        deployment: Deployment,
        features: FloatArray,
        started: str,
        candidates: Sequence[dict[str, Any]] = (),
    ) -> list[EvaluationRecord]:
        """Evaluate a deployment's features under every protocol and put the records into the store.

        ``candidates`` are what the deployment was chosen among.
        """
        near = self.fidelity(features)
        file = EvaluatedFile(
            graph=self.graph,
            runtime=deployment.runtime,
            precision=deployment.precision,
            resolution=(self.run.config.data.height, self.run.config.data.width),
            digest=deployment.digest,
            parts=deployment.parts,
            size_bytes=deployment.size_bytes,
            calibration=deployment.calibration,
            candidates=list(candidates),
            cosine=near.cosine,
            overlap10=near.overlap10,
            **{"runtime_version": runtime_version(runtime), **computed_with(runtime)},
        )
        records = []
        for protocol in deployed_protocols(self.run.config):
            result = evaluation.evaluate_features(self.run, features, protocol)
            id_ = self.run.ids.deployed(protocol, runtime)
            records.append(evaluation.store_evaluation(self.run, id_, result, started, artefact=file))
        return records


def deployed_step(run: RunContext) -> list[EvaluationRecord]:
    """Evaluate a finished fit as each runtime of ``evaluation.deployed`` deploys it; finished records are reused.

    Raises:
        UserError: the fit does not exist, its images changed, or a runtime cannot run here.
    """
    records: list[EvaluationRecord] = []
    trained: Trained | None = None
    runtimes = run.config.evaluation.deployed
    for done, runtime in enumerate(runtimes):
        run.progress("evaluate deployed files", done, len(runtimes), runtime.name)
        finished = deployed_records(run, runtime)
        if finished is None:
            trained = trained or Trained(run)
            started = now()
            with tempfile.TemporaryDirectory(prefix="vireid-deployed-") as name:
                deployment = trained.deploy(runtime, Path(name))
                finished = trained.store(runtime, deployment, trained.features(deployment), started)
        elif trained is not None:
            for record in finished:
                check_same_evaluation_images(record, run.data)
        records += finished
    run.progress("evaluate deployed files", len(runtimes), len(runtimes))
    return records


def is_deployed(run: RunContext) -> bool:
    """Whether all records of deployed files that the configuration asks for are there."""
    return all(deployed_records(run, runtime) is not None for runtime in run.config.evaluation.deployed)


def deployed_records(run: RunContext, runtime: Component) -> list[EvaluationRecord] | None:
    """The finished records of a fit in a runtime, or None where one is missing."""
    protocols = deployed_protocols(run.config)
    stored = [run.store.get(run.ids.deployed(protocol, runtime)) for protocol in protocols]
    records = [record for record in stored if isinstance(record, EvaluationRecord)]
    return records if len(records) == len(protocols) else None


# What is compared where nothing else is asked for. ONNX Runtime's kernels take unsigned activations, which asymmetric
# ranges are; symmetric ones run several times slower there.
CANDIDATES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "openvino": ({}, {"weight_bits": 7}, {"quantiser": "nncf"}, {"quantiser": "nncf", "activations": "symmetric"}),
    "onnxruntime": ({}, {"weight_bits": 7}, {"quantiser": "nncf"}, {"quantiser": "nncf", "ranges": "percentile"}),
    "executorch": ({}, {"ranges": "histogram"}),
}
USUAL = ("openvino", "onnxruntime")  # runtimes that a fit is quantised for where none is named
# Runtimes whose sums are of 32 bits on every processor: XNNPACK widens int8 to 16 bits before it multiplies, where it
# does not take VNNI or Arm's dot products.
WIDE_SUMS = ("executorch",)
LAYERS_KNOWN = ("openvino", "onnxruntime")  # runtimes whose files are quantised as ONNX, layer by layer comparable
UNCOMPARED: Mapping[bool, Mapping[str, Any]] = {True: {"weight_bits": 7}, False: {}}  # whether 16-bit sums saturate


def settings_for(runtime: str, kernels: IntegerKernels | None = None) -> tuple[Mapping[str, Any], ...]:
    """Settings to compare on dev for kernels, by default those of this machine.

    A comparison speaks for kernels that compute as those here do: all that add in 32 bits give the same sums. For
    others it would choose by the wrong sums, and one setting is taken without: 7-bit weights where sums saturate.
    """
    if runtime in WIDE_SUMS:
        return CANDIDATES[runtime]
    here = kernels_of_runtime(runtime)
    wanted = kernels or here
    if wanted == here or not {wanted, here} & {*SATURATING, "unknown"}:
        return CANDIDATES[runtime]
    return (UNCOMPARED[wanted in SATURATING],)


LAYER_IMAGES = 16  # that the noise of layers is taken over


@dataclass(frozen=True, slots=True)
class Quantised:
    """One runtime's file, what it was chosen among, and its records."""

    runtime: Component
    files: list[Path]
    candidates: list[dict[str, Any]]
    records: list[EvaluationRecord]
    layers: list[LayerLoss]  # most noise first; empty where it was not asked for


@dataclass(frozen=True, slots=True)
class _Tried:
    runtime: Component
    deployment: Deployment
    features: FloatArray
    near: Fidelity
    comparison: dict[str, Any]  # as the record keeps it


def quantise_step(
    run: RunContext,
    folder: Path,
    runtimes: Sequence[str],
    candidates: Sequence[Mapping[str, Any]] = (),
    kernels: IntegerKernels | None = None,
    *,
    force: bool = False,
    layers: bool = False,
) -> list[Quantised]:
    """Quantise a finished fit for each runtime, write the file into ``folder``, and evaluate that very file.

    Of several settings the one whose features on the dev images have the highest mean cosine to the trained model's is
    kept: accuracy itself decides nothing, as its differences are within the noise of the images. A fit with
    ``data.split=test`` has trained on the dev identities and is evaluated on test ones, so for it a single setting must
    be given.

    Args:
        run: of the fit.
        folder: for the files; made where it does not exist.
        runtimes: of ``CANDIDATES``.
        candidates: settings of their quantisation to compare; ``settings_for`` the kernels when empty.
        kernels: that the file is made for; those of this machine by default.
        force: write a file too that is beyond the limits of ``evaluation.gate``.
        layers: also measure what each layer loses.

    Raises:
        UserError: no such fit, a quantiser that is missing, no dev images to choose on, an unwritable folder, a file
            that is beyond the limits, layers of a runtime that cannot tell them.
    """
    if layers and (silent := [name for name in runtimes if name not in LAYERS_KNOWN]):
        raise UserError(
            f"--layers: the layers of {', '.join(silent)} files cannot be compared one by one; leave --layers out, or "
            f"name other runtimes ({', '.join(LAYERS_KNOWN)})"
        )
    choices = {
        name: [_runtime(name, given) for given in candidates or settings_for(name, kernels)] for name in runtimes
    }
    if run.config.data.split != "dev" and any(len(options) > 1 for options in choices.values()):
        raise UserError(
            "this fit is evaluated on test identities, on which nothing may be chosen: give one setting by --setting, "
            "such as the one that was best for a fit with data.split=dev"
        )
    if not deployed_protocols(run.config):
        raise UserError("this fit is evaluated with text or mirror images alone: add a protocol of one image each")
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
            if not force:
                _check(trained, best)
            files = _keep(best.deployment, folder)
            records = trained.store(best.runtime, best.deployment, best.features, started, compared)
            noise = layers_of(run, best.runtime, best.deployment) if layers else []
            quantised.append(Quantised(best.runtime, files, compared, records, noise))
        run.progress("quantise", total, total)
    return quantised


def _check(trained: Trained, best: _Tried) -> None:
    """Refuse a file that is beyond the limits, with the layers that lose most."""
    run, deployment = trained.run, best.deployment
    written = next(iter(deployment.files.values()))
    stated = stated_preprocessing(written if written.is_file() else written / "model.xml")
    features = features_as_stated(run, deployment.embedders, stated)
    misses = agreement(run, features, trained.reference).misses(run.config.evaluation.gate.int8)
    layers: list[LayerLoss] = []
    if misses and best.runtime.name in LAYERS_KNOWN:
        run.progress("noise of each layer", 0, 1)
        layers = layers_of(run, best.runtime, deployment)
        run.progress("noise of each layer", 1, 1)
    refuse(f"{best.runtime.name}, int8, {_label(best.runtime)}", misses, layers)


def layers_of(run: RunContext, runtime: Component, deployment: Deployment) -> list[LayerLoss]:
    """What each layer of a deployment's int8 graphs loses, on some of its calibration images; most noise first.

    A graph in OpenVINO's form is quantised again as an ONNX file, by the same settings and images.
    """
    settings: QuantisationConfig = getattr(runtime, "quantisation")  # noqa: B009 - a plug-in's own class has it too
    height, width = run.config.data.height, run.config.data.width
    losses: list[LayerLoss] = []
    for name, _, serves, module in deployed_graphs(evaluation.trained_model(run)):
        images = calibration_images(run, settings.images, serves[0] if len(serves) == 1 else None).images
        floating, file = onnx_bytes(module.eval(), height, width), deployment.files[name]
        quantised = file.read_bytes() if file.is_file() else quantise_onnx(floating, images, settings)
        losses += layer_losses(floating, quantised, images[:LAYER_IMAGES])
    return sorted(losses, key=lambda loss: -loss.added)


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
    """Copy the files beside each other: ``<graph>-int8.onnx``, ``.pte``, ``.xml`` with ``.bin``."""
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
