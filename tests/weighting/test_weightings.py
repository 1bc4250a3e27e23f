from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.weighting import WEIGHTINGS
from vireid.weighting.config import DWAConfig, FixedConfig, UncertaintyConfig
from vireid.weighting.dwa import DynamicWeightAverage
from vireid.weighting.fixed import FixedWeighting
from vireid.weighting.uncertainty import UncertaintyWeighting

BASE = {"id": 1.0, "triplet": 0.5, "tgsa": 0.1}


def terms(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


@pytest.mark.parametrize("name", WEIGHTINGS.names())
def test_contract(name):
    kind = WEIGHTINGS.load(name)
    weighting = kind(parse(kind.Config, {"name": name}, "test"), BASE)
    losses = terms(id=3.0, triplet=2.0, tgsa=4.0)
    total, weights = weighting(losses)
    assert total.shape == ()
    assert total.item() == pytest.approx(1 * 3 + 0.5 * 2 + 0.1 * 4)  # all start as fixed weighting
    assert {k: v.item() for k, v in weights.items()} == pytest.approx(BASE)
    assert not any(w.requires_grad for w in weights.values())
    total.backward()
    assert {k: v.grad.item() for k, v in losses.items()} == pytest.approx(BASE)
    listed = {id(p) for group in weighting.parameter_groups() for p in group["params"]}
    assert listed == {id(p) for p in weighting.parameters()}
    weighting.end_epoch({"id": 3.0, "triplet": 2.0, "tgsa": 4.0})
    fresh = kind(weighting.config, BASE)
    fresh.load_state_dict(weighting.state_dict())


@pytest.mark.parametrize("name", WEIGHTINGS.names())
def test_subset_in_any_order(name):
    kind = WEIGHTINGS.load(name)
    weighting = kind(kind.Config(), BASE)
    total, weights = weighting(terms(tgsa=4.0, id=3.0))
    assert total.item() == pytest.approx(3.4)
    assert {k: v.item() for k, v in weights.items()} == pytest.approx({"tgsa": 0.1, "id": 1.0})


def test_unknown_term_and_bad_weight_are_named():
    with pytest.raises(UserError, match="'tripet' has no weight; did you mean 'triplet'"):
        FixedWeighting(FixedConfig(), BASE)(terms(tripet=1.0))
    with pytest.raises(UserError, match="'id' is -1"):
        FixedWeighting(FixedConfig(), {"id": -1.0})
    with pytest.raises(UserError, match="'idd' fits no loss term; did you mean 'id'"):
        UncertaintyWeighting(UncertaintyConfig(adapt=["idd"]), BASE)


def test_uncertainty_finds_its_optimum():
    """d/ds [w·exp(−s)·L + s/2] = 0 at s = log(2wL): the weight becomes 1/(2L) whatever the base weight."""
    losses = {"id": 3.0, "triplet": 0.8, "tgsa": 40.0}
    weighting = UncertaintyWeighting(UncertaintyConfig(), BASE)
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        total, weights = weighting(terms(**losses))
        total.backward()
        optimiser.step()
    expected = [math.log(2 * BASE[name] * loss) for name, loss in losses.items()]
    assert weighting.log_variance.tolist() == pytest.approx(expected, abs=1e-3)
    assert {k: v.item() for k, v in weights.items()} == pytest.approx({k: 1 / (2 * v) for k, v in losses.items()}, 1e-3)


def test_uncertainty_value_and_gradient_by_hand():
    weighting = UncertaintyWeighting(UncertaintyConfig(adapt=["t*"]), BASE)
    with torch.no_grad():
        weighting.log_variance.copy_(torch.tensor([0.7, 0.4, -0.3]))
    total, weights = weighting(terms(id=3.0, triplet=2.0, tgsa=4.0))
    expected = 3.0 + 0.5 * math.exp(-0.4) * 2.0 + 0.2 + 0.1 * math.exp(0.3) * 4.0 - 0.15  # id does not adapt
    assert total.item() == pytest.approx(expected)
    assert weights["id"].item() == 1.0
    total.backward()
    gradient = [0.0, -0.5 * math.exp(-0.4) * 2.0 + 0.5, -0.1 * math.exp(0.3) * 4.0 + 0.5]
    assert weighting.log_variance.grad.tolist() == pytest.approx(gradient, abs=1e-6)


def test_uncertainty_stays_within_bound_and_can_leave_it():
    weighting = UncertaintyWeighting(UncertaintyConfig(bound=1.0), {"id": 1.0, "off": 0.0})
    optimiser = torch.optim.SGD(weighting.parameters(), lr=0.5)

    def descend(loss: float) -> None:
        for _ in range(20):
            optimiser.zero_grad()
            weighting(terms(id=loss, off=loss))[0].backward()
            optimiser.step()

    descend(0.0)  # a solved term drives s to minus infinity
    total, weights = weighting(terms(id=0.0, off=0.0))
    assert weights["id"].item() == pytest.approx(math.e)
    assert weights["off"].item() == 0.0
    assert total.item() == pytest.approx(-0.5)  # a term of weight 0 adds nothing, whatever its s
    descend(0.5)
    assert weighting.log_variance[0].item() == pytest.approx(0.0, abs=1e-2)  # log(2·0.5)


def test_uncertainty_group_has_no_weight_decay():
    weighting = UncertaintyWeighting(UncertaintyConfig(lr_scale=20.0), BASE)
    (group,) = weighting.parameter_groups()
    assert (group["lr_scale"], group["weight_decay"]) == (20.0, 0.0)


def naive_dwa(last: dict[str, float], before: dict[str, float], temperature: float) -> dict[str, float]:
    exponentials = {name: math.exp(last[name] / before[name] / temperature) for name in last}
    return {name: len(last) * e / sum(exponentials.values()) for name, e in exponentials.items()}


def test_dwa_against_the_formula():
    weighting = DynamicWeightAverage(DWAConfig(), BASE)
    epochs = [
        {"id": 6.0, "triplet": 2.0, "tgsa": 1.0},
        {"id": 3.0, "triplet": 1.9, "tgsa": 1.2},
        {"id": 2.0, "triplet": 1.0, "tgsa": 1.2},
    ]
    weighting.end_epoch(epochs[0])
    assert weighting.scale.tolist() == [1.0, 1.0, 1.0]  # one epoch is no rate
    for before, last in pairwise(epochs):
        weighting.end_epoch(last)
        expected = naive_dwa(last, before, 2.0)
        _, weights = weighting(terms(id=1.0, triplet=1.0, tgsa=1.0))
        assert {k: v.item() for k, v in weights.items()} == pytest.approx({k: BASE[k] * expected[k] for k in BASE})
    assert weighting.scale.sum().item() == pytest.approx(3.0)


def test_dwa_late_terms_zero_losses_and_patterns():
    weighting = DynamicWeightAverage(DWAConfig(temperature=1.0), BASE)
    weighting.end_epoch({"id": 2.0, "tgsa": 0.0})
    weighting.end_epoch({"id": 1.0, "tgsa": 0.5})  # a term that was 0 has rate 1
    first, last = math.exp(0.5), math.exp(1.0)
    assert weighting.scale.tolist() == pytest.approx([2 * first / (first + last), 1.0, 2 * last / (first + last)])
    weighting.end_epoch({"id": 1.0, "triplet": 4.0, "tgsa": 0.5})  # a new term starts at rate 1
    assert weighting.scale.tolist() == pytest.approx([1.0, 1.0, 1.0])
    only = DynamicWeightAverage(DWAConfig(adapt=["id", "tgsa"]), {**BASE, "tgsa": 0.0})
    for value in (4.0, 1.0):
        only.end_epoch({"id": value, "triplet": 1.0, "tgsa": 1.0})
    assert only.scale.tolist() == [1.0, 1.0, 1.0]  # id alone adapts, so it keeps all of its weight
