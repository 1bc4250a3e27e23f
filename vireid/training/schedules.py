"""Learning rate as a pure function of the position in training, so that there is no scheduler state to resume."""

import math

from vireid.training.config import ConstantSchedule, CosineSchedule, RecipeConfig, StepSchedule


def lr_factor(recipe: RecipeConfig, epoch: int, step: int, steps: int) -> float:
    """What ``optimiser.lr`` is multiplied by in batch ``step`` of ``steps`` of ``epoch`` (all counted from 0).

    Warm-up and schedule multiply; the cosine runs to the end of training (of the stage, for a stage's own schedule)
    and, with ``every: epoch``, gives its last epoch the value at that epoch's start.
    """
    schedule, start, epochs = recipe.schedule_at(epoch)
    position = float(epoch - start) if schedule.every == "epoch" else epoch - start + step / steps
    warmup = 1.0
    if position < schedule.warmup_epochs:
        warmup = schedule.warmup_factor + (1 - schedule.warmup_factor) * position / schedule.warmup_epochs
    return warmup * _main_factor(schedule, position, recipe.optimiser.lr, epochs)


def _main_factor(
    schedule: ConstantSchedule | StepSchedule | CosineSchedule, position: float, lr: float, epochs: int
) -> float:
    if isinstance(schedule, StepSchedule):
        return float(schedule.gamma ** sum(milestone <= position for milestone in schedule.milestones))
    if isinstance(schedule, CosineSchedule):
        begin = schedule.warmup_epochs if schedule.begins == "after_warmup" else 0.0
        if position <= begin:
            return 1.0
        floor = schedule.min_lr / lr
        progress = (position - begin) / (epochs - begin)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0
