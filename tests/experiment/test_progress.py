"""Progress where there is no terminal: a line when a phase begins, and one now and then, whatever the work does."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from vireid.experiment.progress import Bars, Lines, as_text, display


def printed(stream: io.StringIO) -> list[str]:
    return [re.sub(r"^\[\d\d:\d\d\] ", "", line) for line in stream.getvalue().splitlines()]


def test_a_terminal_gets_bars_and_everything_else_lines() -> None:
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True)), Bars)
    assert isinstance(display(Console(file=io.StringIO())), Lines)


def test_a_phase_is_said_when_it_begins_and_not_at_every_step() -> None:
    stream = io.StringIO()
    with Lines(Console(file=stream, width=60, markup=False)) as lines:
        job = lines.job("cell 1 of 5 (ibn=a, seed 1)")
        job("render images", 0, 10)
        for step in range(1, 300):
            job("train", step, 300, f"epoch 1/3, loss {step} [brackets stay]")
        job("train", 300, 300)
        job("evaluate", 1, 1)  # over as it begins: nothing to wait for
    assert printed(stream) == [
        "cell 1 of 5 (ibn=a, seed 1): render images 0/10",
        "cell 1 of 5 (ibn=a, seed 1): train 1/300, epoch 1/3, loss 1 [brackets stay]",
    ]


def test_a_silent_step_is_spoken_of_all_the_same() -> None:
    stream = io.StringIO()
    with Lines(Console(file=stream), every=0.2) as lines:
        lines.overall("quick", 0, 10, lambda: 200.0)
        job = lines.job()
        job("train", 1, 4, "loss 2")
        time.sleep(2.5)
        job.close()
        after = len(printed(stream))
        time.sleep(1.2)
    found = printed(stream)
    assert found[0] == "train 1/4, loss 2, 3:20 min left of the study"
    assert len(found) >= 2, "the clock speaks while the step goes on"
    assert len(found) == after, "and not when the job is over"


def test_time_left_follows_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lines = Lines(Console(file=stream), every=5.0)
    job = lines.job()
    job("train", 100, 400)  # taken up at 100: those were not done now
    now = 10.0
    job("train", 110, 400)
    assert printed(stream) == ["train 100/400", "train 110/400, 4:50 min left of it"]


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (200, "3:20 min"), (7500, "2:05 h")])
def test_durations_are_words(seconds: float, words: str) -> None:
    assert as_text(seconds) == words
