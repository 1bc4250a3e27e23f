"""Designs give the cells that their names promise."""

import numpy as np
import pytest

from vireid.ablation.plan import combinations
from vireid.ablation.study import Study
from vireid.core.config import parse
from vireid.core.errors import UserError

FACTORS = {"a": {"off": [], "on": ["x=1"]}, "b": {"off": [], "low": ["y=1"], "high": ["y=2"]}}


def _study(**changes):
    data = {"name": "s", "title": "S", "base": [], "factors": FACTORS, "design": "cumulative", "seeds": [1]}
    return parse(Study, {**data, **changes}, "study s.yaml")


def test_cumulative_adds_one_factor_at_its_last_level_at_a_time():
    assert combinations(_study()) == [
        {"a": "off", "b": "off"},
        {"a": "on", "b": "off"},
        {"a": "on", "b": "high"},
    ]


def test_full_factorial_has_every_combination_and_the_baseline_first():
    cells = combinations(_study(design="full_factorial"))
    assert len(cells) == 6
    assert cells[0] == {"a": "off", "b": "off"}
    assert len({tuple(cell.items()) for cell in cells}) == 6


SWITCHES = {name: {"off": [], "on": [f"{name}=1"]} for name in ("a", "b", "c", "placebo")}


def test_a_placebo_rides_on_the_parity_of_the_other_factors_and_is_balanced_against_each_and_each_pair():
    cells = combinations(_study(design="full_factorial", factors=SWITCHES, placebo=["placebo"]))
    assert len(cells) == 8
    assert cells[0] == dict.fromkeys(SWITCHES, "off")
    signs = [{name: 1 if level == "on" else -1 for name, level in cell.items()} for cell in cells]
    assert all(s["placebo"] == s["a"] * s["b"] * s["c"] for s in signs)  # on where an odd number is
    for names in (["a"], ["b"], ["c"], ["a", "b"], ["a", "c"], ["b", "c"]):
        assert sum(s["placebo"] * np.prod([s[name] for name in names]) for s in signs) == 0


def test_in_other_designs_a_placebo_is_a_factor_like_any_other():
    assert len(combinations(_study(design="one_at_a_time", factors=SWITCHES, placebo=["placebo"]))) == 5


def test_one_at_a_time_changes_one_factor():
    cells = combinations(_study(design="one_at_a_time"))
    assert [sum(level != "off" for level in cell.values()) for cell in cells] == [0, 1, 1, 1]


def test_leave_one_out_takes_one_factor_from_the_full_set():
    cells = combinations(_study(design="leave_one_out"))
    assert cells[1:] == [
        {"a": "on", "b": "high"},
        {"a": "off", "b": "high"},
        {"a": "on", "b": "off"},
    ]


def test_explicit_runs_the_named_cells_and_the_baseline():
    cells = combinations(_study(design="explicit", cells=[{"b": "low"}]))
    assert cells == [{"a": "off", "b": "off"}, {"a": "off", "b": "low"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"design": "explicit", "cells": [{"b": "hihg"}]}, ["factor 'b' has no level 'hihg'", "did you mean 'high'"]),
        ({"design": "explicit", "cells": [{"c": "on"}]}, ["unknown factor 'c'"]),
        ({"design": "cumulativ"}, ["design", "did you mean 'cumulative'"]),
        ({"factrs": {}}, ["unknown key 'factrs'", "did you mean 'factors'"]),
        ({"seeds": [1, 1]}, ["seeds repeat"]),
        ({"labels": {"aa": "A"}}, ["unknown factor 'aa'"]),
        ({"cells": [{"a": "on"}]}, ["'cells' belongs to the design 'explicit'"]),
        ({"placebo": ["c"]}, ["placebo: unknown factor 'c'"]),
        ({"placebo": ["a"], "design": "full_factorial"}, ["two levels", "'b' has another number"]),
        ({"factors": {"a": {"off": []}}}, ["needs a baseline level and at least one other"]),
    ],
)
def test_faults_in_a_study_are_named(changes, words):
    with pytest.raises(UserError) as error:
        _study(**changes)
    assert all(word in str(error.value) for word in ["study s.yaml", *words])
