"""Fractions keep their resolution, hold the baseline, and name what they cannot tell apart."""

from itertools import combinations, product

import numpy as np
import pytest

from vireid.ablation.fractions import _GENERATORS, alias_groups, fraction
from vireid.ablation.plan import combinations as cells_of
from vireid.ablation.plan import make_plan
from vireid.ablation.study import Study
from vireid.core.config import parse
from vireid.core.errors import UserError

FACTORS = {name: {"off": [], "on": [f"recipe.{key}"]} for name, key in zip("abcde", ("x=1",) * 5, strict=True)}


def _study(**changes):
    data = {"name": "s", "title": "S", "base": [], "factors": FACTORS, "design": "fractional_factorial", "seeds": [1]}
    return parse(Study, {**data, **changes}, "study s.yaml")


@pytest.mark.parametrize(("resolution", "factors"), _GENERATORS)
def test_a_fraction_has_its_resolution(resolution: int, factors: int) -> None:
    signs = np.where(np.array(fraction(factors, resolution)), 1, -1)
    assert len(signs) == 2 ** (factors - len(_GENERATORS[resolution, factors]))
    assert (signs == -1).all(axis=1).sum() == 1  # the baseline
    constant = [
        len(chosen)
        for size in range(1, factors + 1)
        for chosen in combinations(range(factors), size)
        if abs(signs[:, chosen].prod(axis=1).sum()) == len(signs)
    ]
    assert min(constant) >= resolution


@pytest.mark.parametrize(("resolution", "factors"), _GENERATORS)
def test_alias_groups_are_the_products_that_agree_up_to_their_sign(resolution: int, factors: int) -> None:
    signs = np.where(np.array(fraction(factors, resolution)), 1, -1)
    every = [frozenset(c) for size in range(1, factors + 1) for c in combinations(range(factors), size)]
    for group in alias_groups(factors, resolution):
        column = signs[:, sorted(group[0])].prod(axis=1)
        naive = {e for e in every if abs((signs[:, sorted(e)].prod(axis=1) * column).sum()) == len(signs)}
        assert set(group) == naive
        assert len(group[0]) == min(map(len, group))


def test_half_of_five_factors_is_planned_in_sixteen_cells_with_its_aliases() -> None:
    study = _study(labels={"a": "IBN"})
    cells = cells_of(study)
    assert len(cells) == 16
    assert cells[0] == dict.fromkeys(FACTORS, "off")
    for row in product(("off", "on"), repeat=4):
        (cell,) = (c for c in cells if tuple(c.values())[:4] == row)
        assert cell["e"] == ("off", "on")[row.count("on") % 2]
    plan, _ = make_plan(
        _study(
            base=["data=sysu_quick", "model=idkl_small", "recipe=smoke"],
            factors={
                "a": {"off": [], "on": ["model.ibn=a"]},
                "b": {"off": [], "on": ["model.mha=guidance"]},
                "c": {"off": [], "on": ["augmentation=full"]},
                "d": {"off": [], "on": ["weighting=dwa"]},
                "e": {"off": [], "on": ["stream=1"]},
            },
        )
    )
    assert plan.aliases[0] == "a = b × c × d × e"
    assert "d × e = a × b × c" in plan.aliases
    assert len(plan.aliases) == 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": {k: FACTORS[k] for k in "abcd"}}, "no fraction of 4 factors at resolution 5; there are 3 at"),
        ({"factors": {**FACTORS, "a": {"0": [], "1": [], "2": []}}}, "two levels, but 'a' has another number"),
        ({"resolution": 6}, "less than or equal to 5"),
        ({"planted": ["half"]}, "planted: unknown control 'half'"),
        ({"controls": {"half": []}, "untrained": "halt"}, "untrained: unknown control 'halt'; did you mean 'half'"),
        ({"controls": {"half": []}, "planted": ["half"], "untrained": "half"}, "untrained: unknown control 'half'"),
    ],
)
def test_impossible_fractions_are_refused_when_the_study_is_read(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _study(**changes)
