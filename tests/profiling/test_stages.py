"""Stage timings: sums, order, and what is left out."""

from __future__ import annotations

import time

from torch import nn

from tests.profiling.models import Pooled
from vireid.core.config import parse
from vireid.profiling.complexity import example_images
from vireid.profiling.config import ProfileConfig
from vireid.profiling.latency import Mark, StageTimer, measure_chain


def test_every_moment_belongs_to_the_stage_that_ends_next() -> None:
    lengths = {"first": 0.004, "second": 0.012}

    def chain(mark: Mark) -> None:
        for name, length in lengths.items():
            time.sleep(length)
            mark(name)
        mark("nothing")

    timer = StageTimer(chain)
    for _ in range(5):
        timer()
    found = timer.stages(1, 3)
    assert list(found) == ["first", "second", "nothing"]
    assert all(len(seconds) == 3 for seconds in found.values())
    for name, length in lengths.items():
        assert all(second >= length for second in found[name])
    assert min(found["nothing"]) < 0.004


def test_parts_of_a_stage_add_up_and_a_missing_one_is_zero() -> None:
    turns = iter([True, False])

    def chain(mark: Mark) -> None:
        time.sleep(0.003)
        mark("work")
        if next(turns):
            mark("rare")
        time.sleep(0.003)
        mark("work")

    timer = StageTimer(chain)
    timer()
    timer()
    found = timer.stages(0, 2)
    assert all(second >= 0.006 for second in found["work"])
    assert found["rare"][0] > 0
    assert found["rare"][1] == 0


def test_stages_are_those_of_the_samples() -> None:
    single = parse(
        ProfileConfig,
        {
            "budget": {"warmup_seconds": 0.02, "min_seconds": 0.02, "min_repeats": 5, "max_seconds": 0.5},
            "batches": [1],
            "threads": [1],
        },
        "profile",
    )

    def chain(mark: Mark) -> None:
        time.sleep(0.002)
        mark("a")
        time.sleep(0.001)
        mark("b")

    module = Pooled(nn.ReLU())
    found = measure_chain(chain, lambda: module, example_images(1, 8, 6), single)
    assert len(found["stages"]["a"]) == len(found["stages"]["b"]) == len(found["seconds"])
    for whole, *parts in zip(found["seconds"], found["stages"]["a"], found["stages"]["b"], strict=True):
        assert 0.003 <= sum(parts) <= whole
