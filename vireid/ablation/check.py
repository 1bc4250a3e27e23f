"""What is finished: whether a planned run's records exist and speak of the images that lie there now."""

from __future__ import annotations

from vireid.config import ExperimentConfig
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.experiment.data import prepare
from vireid.experiment.evaluate import check_same_evaluation_images
from vireid.experiment.fit import check_same_images
from vireid.experiment.identity import evaluation_id, fit_id
from vireid.store import Store


def is_finished(config: ExperimentConfig, store: Store) -> bool:
    """Whether the fit and all its evaluations are there.

    Raises:
        UserError: they are, but of other images than those on disk.
    """
    fit = store.get(fit_id(config))
    if not isinstance(fit, FitRecord):
        return False
    evaluations = [store.get(evaluation_id(config, protocol)) for protocol in config.evaluation.protocols]
    data = prepare(config, store)
    check_same_images(fit, data)
    for record in evaluations:
        if not isinstance(record, EvaluationRecord):
            return False
        check_same_evaluation_images(record, data)
    return True
