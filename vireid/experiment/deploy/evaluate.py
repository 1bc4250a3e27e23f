"""Fit → evaluation records of deployed files: the accuracy of the artefact itself, beside the trained model's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vireid.config import ExperimentConfig
from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.records import EvaluatedFile, EvaluationRecord, FitRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.extraction import extract
from vireid.evaluation.fidelity import fidelity
from vireid.evaluation.protocols import ProtocolConfig
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.data import PreparedData, evaluation_loader, listed_images, prepare
from vireid.experiment.deploy.runtime import Deployment, deploy
from vireid.experiment.evaluate import (
    check_same_evaluation_images,
    embeddings,
    filed,
    finished_fit,
    trained_model,
)
from vireid.experiment.fit import check_same_images
from vireid.experiment.identity import deployed_id, deployed_protocols
from vireid.experiment.progress import ProgressCallback, silent
from vireid.store import Store


class Trained:
    """A finished fit with its images, its model and its features in PyTorch, each brought when first asked for.

    Raises:
        UserError: it has not been trained, or its images have changed.
    """

    def __init__(self, config: ExperimentConfig, store: Store, progress: ProgressCallback = silent) -> None:
        self.config, self.store, self._progress = config, store, progress
        self.fit: FitRecord = finished_fit(config, store)
        self.data: PreparedData = prepare(config, store, progress)
        check_same_images(self.fit, self.data)
        graph = cost_step(config, store, progress).artefact
        if graph is None:
            raise UserError(f"run {self.fit.id}: its deployed graph has no digest to file results under")
        self.graph: str = graph
        self._reference: FloatArray | None = None

    @property
    def reference(self) -> FloatArray:
        """Features (N×D) of the evaluation images by the trained model in eager PyTorch."""
        if self._reference is None:
            self._progress("features in PyTorch", 0, 1)
            self._reference = embeddings(self.config, self.store, self.data)
            self._progress("features in PyTorch", 1, 1)
        return self._reference

    def deploy(self, runtime: Component, folder: Path) -> Deployment:
        """The fit in a runtime, its files in an empty ``folder``, which must stay while they are used."""
        model = trained_model(self.config, self.store)
        return deploy(self.config, self.store, self.data, model, runtime, folder, self.graph)

    def features(self, deployment: Deployment) -> FloatArray:
        """Features (N×D) of the evaluation images by a deployment, one image at a time."""
        return extract(deployment.embedders, evaluation_loader(self.config, self.data, self.store))

    def file(
        self, deployment: Deployment, features: FloatArray, candidates: Sequence[dict[str, Any]] = ()
    ) -> EvaluatedFile:
        """What records say of a deployment that gave ``features``."""
        near = fidelity(features, self.reference, self.data.evaluation.modality)
        return EvaluatedFile(
            graph=self.graph,
            runtime=deployment.runtime,
            precision=deployment.precision,
            resolution=(self.config.data.height, self.config.data.width),
            digest=deployment.digest,
            size_bytes=deployment.size_bytes,
            calibration=deployment.calibration,
            candidates=list(candidates),
            cosine=near.cosine,
            overlap10=near.overlap10,
        )

    def score(self, features: FloatArray, protocol: ProtocolConfig) -> Any:
        """Evaluate features under a protocol."""
        data = self.data
        return evaluate(
            features,
            data.evaluation,
            protocol,
            data.layout.permutations(),
            listed=listed_images(self.config, protocol, data),
            split=self.config.data.split,
        )

    def record(
        self, runtime: Component, features: FloatArray, artefact: EvaluatedFile, started: str
    ) -> list[EvaluationRecord]:
        """Evaluate a deployment's features under every protocol and put the records into the store."""
        return [
            filed(
                self.config,
                self.store,
                self.fit,
                deployed_id(self.config, protocol, runtime),
                self.score(features, protocol),
                self.data,
                started,
                artefact,
            )
            for protocol in deployed_protocols(self.config)
        ]


def deployed_step(
    config: ExperimentConfig, store: Store, progress: ProgressCallback = silent
) -> list[EvaluationRecord]:
    """Evaluate a finished fit as each runtime of ``evaluation.deployed`` deploys it; finished records are reused.

    Raises:
        UserError: the fit does not exist, its images changed, or a runtime cannot run here.
    """
    records: list[EvaluationRecord] = []
    trained: Trained | None = None
    runtimes = config.evaluation.deployed
    for done, runtime in enumerate(runtimes):
        progress("evaluate deployed files", done, len(runtimes), runtime.name)
        found = deployed_records(config, store, runtime)
        if found is None:
            trained = trained or Trained(config, store, progress)
            started = now()
            with tempfile.TemporaryDirectory(prefix="vireid-deployed-") as name:
                deployment = trained.deploy(runtime, Path(name))
                features = trained.features(deployment)
                found = trained.record(runtime, features, trained.file(deployment, features), started)
        elif trained is not None:
            for record in found:
                check_same_evaluation_images(record, trained.data)
        records += found
    progress("evaluate deployed files", len(runtimes), len(runtimes))
    return records


def is_deployed(config: ExperimentConfig, store: Store) -> bool:
    """Whether all records of deployed files that the configuration asks for are there."""
    return all(deployed_records(config, store, runtime) is not None for runtime in config.evaluation.deployed)


def deployed_records(config: ExperimentConfig, store: Store, runtime: Component) -> list[EvaluationRecord] | None:
    """The finished records of a fit in a runtime, or None where one is missing."""
    protocols = deployed_protocols(config)
    found = [store.get(deployed_id(config, protocol, runtime)) for protocol in protocols]
    records = [record for record in found if isinstance(record, EvaluationRecord)]
    return records if len(records) == len(protocols) else None
