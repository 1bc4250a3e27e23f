"""The steps that a job can take, by name; commands and worker processes share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vireid.config import ExperimentConfig
from vireid.experiment.cost.profile import cost_step, latency_step
from vireid.experiment.data import data_step
from vireid.experiment.deploy.evaluate import deployed_step
from vireid.experiment.evaluate import evaluate_step
from vireid.experiment.fit import fit_step
from vireid.experiment.progress import ProgressCallback
from vireid.explain.step import explain_step
from vireid.store import Store

Step = Callable[[ExperimentConfig, Store, ProgressCallback], Any]

STEPS: dict[str, Step] = {
    "data": data_step,
    "fit": fit_step,
    "evaluate": evaluate_step,
    "deployed": deployed_step,
    "explain": explain_step,
    "cost": cost_step,
    "latency": latency_step,
}
