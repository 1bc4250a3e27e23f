"""Fits that build on others: what is checked before a plan begins, and in which order its fits run."""

from __future__ import annotations

from collections.abc import Mapping

from vireid.config import ExperimentConfig
from vireid.experiment.identity import teacher_fit
from vireid.experiment.teacher_training import teacher_of
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
    for config in configs.values():
        if teacher_of(config) is not None and teacher_fit(config) not in configs:
            from vireid.experiment.teacher import check_teacher  # reads weights, and so needs torch: most plans do not

            check_teacher(config, store)
        if config.start_from is not None and config.start_from not in configs:
            from vireid.experiment.start import check_start

            check_start(config, store)


def in_waves(configs: Mapping[str, ExperimentConfig]) -> list[list[str]]:
    """Ids of planned fits in waves: each comes in a later wave than the planned teacher and start that it builds on."""
    waves: list[list[str]] = []
    left = dict(configs)
    while left:
        wave = [run for run, config in left.items() if not {teacher_fit(config), config.start_from} & left.keys()]
        waves.append(wave)
        left = {run: config for run, config in left.items() if run not in wave}
    return waves
