from __future__ import annotations

import math

import pytest

from tests.training.parts import recipe
from vireid.core.errors import UserError
from vireid.training.schedules import lr_factor


def by_epoch(config) -> list[float]:
    return [lr_factor(config, epoch, 3, 7) for epoch in range(config.total_epochs)]


def test_step_with_the_warm_up_of_agw():
    """lr·(e + 1)/10 in the first ten epochs, ×0.1 at 20 and at 50."""
    schedule = {"name": "step", "milestones": [20, 50], "warmup_epochs": 9}
    factors = by_epoch(recipe(epochs=80, schedule=schedule))
    expected = [(e + 1) / 10 if e < 10 else 1.0 if e < 20 else 0.1 if e < 50 else 0.01 for e in range(80)]
    assert factors == pytest.approx(expected)


def test_cosine_after_warm_up():
    """Epochs 1–9 (of a count from 1) at 0.1…0.9 of the rate, then half a cosine down to min_lr."""
    schedule = {"name": "cosine", "warmup_epochs": 9, "min_lr": 0.002}
    factors = by_epoch(recipe(epochs=29, schedule=schedule))
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[19] == pytest.approx(0.2 + 0.8 * 0.5)  # half way
    assert factors[28] == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi * 19 / 20)))


def test_cosine_of_the_fork():
    """Its chained rule, lr ← lr·(1 + cos πt/T)/(1 + cos π(t−1)/T) around min_lr, from the peak that warm-up left."""
    peak, floor, epochs = 3.15e-4, 8e-6, 400
    schedule = {"name": "cosine", "warmup_epochs": 9, "warmup_factor": 0.0, "min_lr": floor, "begins": "with_training"}
    factors = by_epoch(recipe(epochs=epochs, schedule=schedule, optimiser={"name": "adam", "lr": peak}))
    rate, t = peak, 9
    while t < epochs - 1:
        t += 1
        step = (1 + math.cos(math.pi * t / epochs)) / (1 + math.cos(math.pi * (t - 1) / epochs))
        rate = floor + (rate - floor) * step
        assert factors[t] * peak == pytest.approx(rate, rel=2e-3)
    assert factors[5] == pytest.approx(5 / 9, rel=1e-3)


def test_by_step():
    config = recipe(epochs=4, schedule={"name": "cosine", "warmup_epochs": 0.5, "warmup_factor": 0.0, "every": "step"})
    factors = [lr_factor(config, epoch, step, 4) for epoch in range(4) for step in range(4)]
    expected = [0.0, 0.5] + [0.5 * (1 + math.cos(math.pi * k / 14)) for k in range(14)]
    assert factors == pytest.approx(expected)


def test_constant_and_warm_up_over_everything():
    assert by_epoch(recipe(epochs=3, schedule={"name": "constant"})) == [1.0, 1.0, 1.0]
    whole = recipe(epochs=2, schedule={"name": "cosine", "warmup_epochs": 2, "warmup_factor": 0.5})
    assert by_epoch(whole) == pytest.approx([0.5, 0.75])


def test_a_stage_s_own_schedule_begins_anew():
    step = {"name": "step", "milestones": [2], "warmup_epochs": 1, "warmup_factor": 0.5}
    stages = [{"name": "base", "epochs": 4}, {"name": "text", "epochs": 3, "schedule": step}]
    config = recipe(stages=stages, schedule=step)
    assert by_epoch(config) == pytest.approx([0.5, 1.0, 0.1, 0.1, 0.5, 1.0, 0.1])


def test_a_stage_s_schedule_must_fit_its_epochs():
    late = {"name": "step", "milestones": [3]}
    stages = [{"name": "text", "epochs": 3, "schedule": late}, {"name": "rest", "epochs": 9}]
    with pytest.raises(UserError, match=r"stages\.0\.schedule\.milestones has 3, which the 3 epochs never reach"):
        recipe(stages=stages)
