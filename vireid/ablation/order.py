"""Fits that build on others: what is checked before a plan begins, and in which order its fits run."""

from collections.abc import Mapping

from vireid.config import ExperimentConfig
from vireid.experiment.context import RunContext
from vireid.experiment.identity import RunIds, teacher_of
from vireid.store import Store


def check_earlier_fits(configs: Mapping[str, ExperimentConfig], store: Store) -> None:
    """Check the teachers and the starts of a plan before anything of it runs.

    Args:
        configs: configuration of every planned fit by its id. A fit that another builds on need not be there yet where
            it is planned too.
        store: where the others are.

    Raises:
        UserError: one is missing, or does not fit what builds on it.
    """
    for run in (RunContext(config, store) for config in configs.values()):
        if teacher_of(run.config) is not None and run.ids.teacher not in configs:
            from vireid.experiment.start import check_teacher  # reads weights, and so needs torch: most plans do not

            check_teacher(run)
        if run.config.start_from is not None and run.config.start_from not in configs:
            from vireid.experiment.start import check_start

            check_start(run)


def in_waves(configs: Mapping[str, ExperimentConfig]) -> list[list[str]]:
    """Ids of planned fits in waves: each comes in a later wave than the planned teacher and start that it builds on."""
    left = {fit: {RunIds(config).teacher, config.start_from} for fit, config in configs.items()}
    waves: list[list[str]] = []
    while left:
        waves.append([fit for fit, earlier in left.items() if not earlier & left.keys()])
        left = {fit: earlier for fit, earlier in left.items() if fit not in waves[-1]}
    return waves
