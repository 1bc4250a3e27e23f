"""The ramp of terms and of augmentation strength, over every weighting."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.weighting import CURRICULA, WEIGHTINGS
from vireid.weighting.config import DWAConfig, FixedConfig, OffConfig, RampConfig, UncertaintyConfig
from vireid.weighting.curriculum import NoCurriculum, RampCurriculum
from vireid.weighting.dwa import DynamicWeightAverage
from vireid.weighting.fixed import FixedWeighting
from vireid.weighting.uncertainty import UncertaintyWeighting

BASE = {"id": 1.0, "tgsa_intra": 0.5, "csa1_inter": 0.8}
VALUES = {"id": 3.0, "tgsa_intra": 2.0, "csa1_inter": 4.0}


def terms(names=BASE) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(VALUES[name], requires_grad=True) for name in names}


def ramp(epochs: int = 10, **settings) -> RampCurriculum:
    return RampCurriculum(parse(RampConfig, {"name": "ramp", **settings}, "test"), epochs)


@pytest.mark.parametrize("name", CURRICULA.names())
def test_contract(name):
    kind = CURRICULA.load(name)
    curriculum = kind(parse(kind.Config, {"name": name}, "test"), 8)
    strengths = [curriculum.strength(epoch) for epoch in range(8)]
    assert strengths == sorted(strengths)
    assert 0 <= strengths[0] <= strengths[-1] == 1
    assert strengths == [curriculum.strength(epoch) for epoch in range(8)]


def test_off_changes_nothing():
    off, weighting = NoCurriculum(OffConfig(), 8), FixedWeighting(FixedConfig(), BASE)
    assert [off.strength(epoch) for epoch in range(8)] == [1.0] * 8
    assert off.wrap(weighting) is weighting


def test_factors_by_hand():
    assert [ramp().factor(e) for e in range(10)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1])
    late = ramp(8, start=0.25, end=0.75)
    assert [late.factor(e) for e in range(8)] == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1])
    assert [late.strength(e) for e in range(8)] == [late.factor(e) for e in range(8)]
    assert ramp(augmentation=False).strength(0) == 1.0


@pytest.mark.parametrize("name", [n for n in WEIGHTINGS.names() if n != "gradnorm"])
def test_effective_weights_rise_linearly_under_every_weighting(name):
    kind = WEIGHTINGS.load(name)
    weighting = ramp().wrap(kind(kind.Config(), BASE))
    for epoch, factor in ((0, 0.0), (1, 0.2), (5, 1.0), (2, 0.4)):
        weighting.begin_epoch(epoch)
        losses = terms()
        total, weights = weighting(losses)
        expected = {"id": 1.0, "tgsa_intra": 0.5 * factor, "csa1_inter": 0.8 * factor}
        assert {n: w.item() for n, w in weights.items()} == pytest.approx(expected)
        assert list(weights) == list(BASE)
        assert total.item() == pytest.approx(sum(expected[n] * VALUES[n] for n in BASE))
        total.backward()
        gradients = {n: 0.0 if loss.grad is None else loss.grad.item() for n, loss in losses.items()}
        assert gradients == pytest.approx(expected)


def test_uncertainty_does_not_undo_the_ramp():
    """s finds its optimum log(2wL) at any factor, so the effective weight is the factor times 1/(2L)."""
    inner = UncertaintyWeighting(UncertaintyConfig(), BASE)
    weighting = ramp().wrap(inner)
    optimiser = torch.optim.Adam(inner.parameters(), lr=0.1)
    for epoch, factor in ((0, 0.0), (1, 0.2), (5, 1.0)):
        weighting.begin_epoch(epoch)
        for _ in range(300):
            optimiser.zero_grad()
            total, weights = weighting(terms())
            total.backward()
            optimiser.step()
        expected = [factor / (2 * VALUES[n]) if n != "id" else 1 / 6 for n in BASE]
        assert [w.item() for w in weights.values()] == pytest.approx(expected, rel=1e-2)
        if epoch == 0:  # a term that is not there yet has no s either
            assert inner.log_variance[1:].tolist() == [0.0, 0.0]
    assert inner.log_variance[1].item() == pytest.approx(math.log(2 * 0.5 * 2.0), abs=1e-2)


def test_dwa_sees_a_term_from_its_first_epoch_with_weight():
    inner = DynamicWeightAverage(DWAConfig(), BASE)
    weighting = ramp().wrap(inner)
    for epoch in range(3):
        weighting.begin_epoch(epoch)
        weighting.end_epoch(VALUES)
    assert inner.before[1:].tolist() == [2.0, 4.0]  # seen in epochs 1 and 2
    weighting.begin_epoch(0)
    inner.last.fill_(7.0)
    weighting.end_epoch(VALUES)
    assert inner.last.tolist() == [3.0, 7.0, 7.0]


def test_globs_that_fit_nothing():
    weighting = FixedWeighting(FixedConfig(), BASE)
    only = ramp(terms=["tgsa_*", "guidance_kl"]).wrap(weighting)
    only.begin_epoch(0)
    assert {n: w.item() for n, w in only(terms())[1].items()} == pytest.approx({**BASE, "tgsa_intra": 0.0})
    with pytest.raises(UserError, match=r"curriculum\.terms: none of msel_\*, kl fits an active loss term; active: id"):
        ramp(terms=["msel_*", "kl"]).wrap(weighting)
    with pytest.raises(UserError, match="every loss term would start from nothing"):
        ramp(terms=["*"]).wrap(weighting)
    assert ramp(terms=[]).wrap(weighting) is weighting  # the augmentation alone rises
    with pytest.raises(UserError, match=r"BaseWeighting"):
        ramp().wrap(nn.Linear(1, 1))


def test_a_stage_of_ramped_terms_alone_is_refused_while_they_are_at_nothing():
    weighting = ramp().wrap(FixedWeighting(FixedConfig(), BASE))
    with pytest.raises(UserError, match=r"this stage \(tgsa_intra\) are still at weight 0"):
        weighting(terms(["tgsa_intra"]))
    weighting.begin_epoch(1)
    assert weighting(terms(["tgsa_intra"]))[0].item() == pytest.approx(0.2 * 0.5 * 2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0.5, "end": 0.5}, "start 0.5 must lie before end 0.5"),
        ({"terms": [], "augmentation": False}, "nothing would rise"),
        ({"end": 1.5}, "end = 1.5"),
        ({"stop": 1}, "unknown key 'stop'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        ramp(**settings)
