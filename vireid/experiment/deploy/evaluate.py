"""Fit → evaluation records of deployed files: the accuracy of the artefact itself, beside the trained model's."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from vireid.core.config import Component
from vireid.core.errors import UserError
from vireid.core.records import EvaluatedFile, EvaluationRecord, now
from vireid.core.types import FloatArray
from vireid.evaluation.extraction import extract
from vireid.evaluation.neighbours import Fidelity, fidelity
from vireid.experiment import evaluate as evaluation
from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import cost_step
from vireid.experiment.data import check_same_evaluation_images, check_same_images, evaluation_loader
from vireid.experiment.deploy.export import Deployment, deploy
from vireid.experiment.identity import deployed_protocols


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
            size_bytes=deployment.size_bytes,
            calibration=deployment.calibration,
            candidates=list(candidates),
            cosine=near.cosine,
            overlap10=near.overlap10,
        )
        records = []
        for protocol in deployed_protocols(self.run.config):
            result = evaluation.evaluate_features(self.run, features, protocol)
            id_ = self.run.ids.deployed(protocol, runtime)
            records.append(evaluation.store_evaluation(self.run, id_, result, started, file))
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
