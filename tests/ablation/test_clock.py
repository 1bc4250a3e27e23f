"""Time left of a study, by hand."""

from __future__ import annotations

import pytest

from vireid.ablation import clock as module
from vireid.ablation.clock import PROFILE_GUESS, StudyClock


class Time:
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    own = Time()
    monkeypatch.setattr(module, "time", own)
    return own


def test_nobody_knows_before_the_first_fit_has_got_somewhere(time: Time) -> None:
    clock = StudyClock(["a", "b"], 0, 1)
    assert clock.left() is None
    clock.begin_fit("a")
    time.now = 10
    clock.train("a", 0.05)
    assert clock.left() is None
    clock.train("a", 0.25)
    assert clock.left() == pytest.approx(30 + 40)


def test_fits_that_are_done_tell_how_long_the_others_last(time: Time) -> None:
    clock = StudyClock(list("abcde"), 5, 2)
    for key in "ab":
        clock.begin_fit(key)
    time.now = 100
    clock.end_fit("a")
    clock.begin_fit("c")
    time.now = 120
    clock.end_fit("b")
    clock.begin_fit("d")
    # mean 110: c has 90 left, d 110; e follows c and ends after 200; then five profiles
    assert clock.left() == pytest.approx(200 + 5 * PROFILE_GUESS)


def test_profiles_count_as_the_mean_of_those_done(time: Time) -> None:
    clock = StudyClock([], 3, 2)
    assert clock.left() == pytest.approx(3 * PROFILE_GUESS)
    clock.begin_profile()
    time.now = 4
    assert clock.left() == pytest.approx(3 * PROFILE_GUESS - 4)
    clock.end_profile()
    assert clock.left() == pytest.approx(2 * 4)


def test_what_is_on_record_takes_no_time(time: Time) -> None:
    clock = StudyClock(["b"], 0, 1)
    clock.begin_fit("a")  # on record: not among those that are missing
    time.now = 1
    clock.end_fit("a")
    clock.begin_fit("b")
    clock.train("b", 0.5)
    time.now = 11
    assert clock.left() == pytest.approx(10)


def test_a_fit_that_outlasts_the_mean_is_about_to_end(time: Time) -> None:
    clock = StudyClock(["a", "b"], 0, 1)
    clock.begin_fit("a")
    time.now = 10
    clock.end_fit("a")
    clock.begin_fit("b")
    time.now = 35
    assert clock.left() == 0
    clock.train("b", 0.5)  # and once it says how far it is, that counts
    assert clock.left() == pytest.approx(25)
