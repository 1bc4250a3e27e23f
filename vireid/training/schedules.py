"""Learning rate as a pure function of the position in training, so that there is no scheduler state to resume."""

from __future__ import annotations

import math

from vireid.training.config import ConstantSchedule, CosineSchedule, RecipeConfig, StepSchedule


def lr_factor(recipe: RecipeConfig, epoch: int, step: int, steps: int) -> float:
    """What ``optimiser.lr`` is multiplied by in batch ``step`` of ``steps`` of ``epoch`` (all counted from 0).

    Warm-up and schedule multiply; the cosine runs from the end of warm-up to the end of training and, with ``every:
    epoch``, gives its last epoch the value at that epoch's start.
    """
    schedule = recipe.schedule
    position = float(epoch) if schedule.every == "epoch" else epoch + step / steps
    warmup = 1.0
    if position < schedule.warmup_epochs:
        warmup = schedule.warmup_factor + (1 - schedule.warmup_factor) * position / schedule.warmup_epochs
    return warmup * _main_factor(schedule, position, recipe.optimiser.lr, recipe.total_epochs)


def _main_factor(
    schedule: ConstantSchedule | StepSchedule | CosineSchedule, position: float, lr: float, epochs: int
) -> float:
    if isinstance(schedule, StepSchedule):
        return float(schedule.gamma ** sum(milestone <= position for milestone in schedule.milestones))
    if isinstance(schedule, CosineSchedule) and position > schedule.warmup_epochs:
        floor = schedule.min_lr / lr
        progress = (position - schedule.warmup_epochs) / (epochs - schedule.warmup_epochs)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0
