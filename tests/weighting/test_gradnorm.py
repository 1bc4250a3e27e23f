"""Gradient normalisation against algorithm 1 written out in float64, and at its known fixed points."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from vireid.core.errors import UserError
from vireid.weighting.config import GradNormConfig
from vireid.weighting.gradnorm import GradNormWeighting

BASE = {"near": 1.0, "far": 0.5, "steep": 0.1}
CENTRES = {"near": [1.0, 0.0, 0.0], "far": [4.0, -3.0, 0.5], "steep": [0.5, 2.0, -1.0]}
STEEPNESS = {"near": 1.0, "far": 1.0, "steep": 30.0}


class Quadratics(nn.Module):
    """Terms ½·k·‖x − c‖² of one shared vector x, whose gradient norms k·‖x − c‖ are known."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([0.1, 0.2, -0.3]))
        self.unshared = nn.Parameter(torch.tensor(2.0))

    def shared_parameters(self) -> list[nn.Parameter]:
        return [self.x]

    def terms(self, *names: str) -> dict[str, torch.Tensor]:
        x = self.x
        return {n: 0.5 * STEEPNESS[n] * (x - x.new_tensor(CENTRES[n])).square().sum() for n in names or BASE}


def gradnorm(model: nn.Module, base: dict[str, float] = BASE, scale: float = 1.0, **settings) -> GradNormWeighting:
    weighting = GradNormWeighting(GradNormConfig(**settings), base)
    weighting.begin(model, lambda loss: loss * scale)
    return weighting


def algorithm_1(steps: int, alpha: float, lr: float, model_lr: float) -> list[list[float]]:
    """w after every step, one task at a time, with autograd's own gradient of the L1 loss and torch's own Adam."""
    x = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64, requires_grad=True)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=lr)
    initial: list[float] = []
    history = []
    for _ in range(steps):
        losses = [
            0.5 * BASE[n] * STEEPNESS[n] * (x - torch.tensor(CENTRES[n], dtype=torch.float64)).square().sum()
            for n in BASE
        ]
        initial = initial or [loss.item() for loss in losses]
        norms = [torch.autograd.grad(w[i] * losses[i], x, create_graph=True)[0].norm() for i in range(3)]
        rates = [losses[i].item() / initial[i] for i in range(3)]
        mean_rate, mean_norm = sum(rates) / 3, sum(norm.item() for norm in norms) / 3
        penalty = sum((norms[i] - mean_norm * (rates[i] / mean_rate) ** alpha).abs() for i in range(3))
        (w.grad,) = torch.autograd.grad(penalty, w, retain_graph=True)
        (slope,) = torch.autograd.grad(sum(w[i] * losses[i] for i in range(3)), x)
        adam.step()
        with torch.no_grad():
            x -= model_lr * slope
            w *= 3 / w.sum()
        history.append(w.tolist())
    return history


def learn(model: Quadratics, weighting: GradNormWeighting, steps: int, model_lr: float = 0.0, *names: str) -> list:
    history = []
    for _ in range(steps):
        model.zero_grad()
        total, _ = weighting(model.terms(*names))
        total.backward()
        with torch.no_grad():
            model.x -= model_lr * model.x.grad
        weighting.end_step()
        history.append(weighting.scale.tolist())
    return history


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_equals_algorithm_1(alpha):
    model = Quadratics()
    ours = learn(model, gradnorm(model, alpha=alpha, lr=0.02), 15, 0.05)
    for left, right in zip(ours, algorithm_1(15, alpha, 0.02, 0.05), strict=True):
        assert left == pytest.approx(right, rel=2e-4)


def test_alpha_0_settles_where_all_norms_are_equal():
    model = Quadratics()
    weighting = gradnorm(model, alpha=0.0, lr=0.01)
    learn(model, weighting, 1500)
    slopes = [BASE[n] * STEEPNESS[n] * (model.x - torch.tensor(CENTRES[n])).norm().item() for n in BASE]
    inverse = [1 / slope for slope in slopes]
    assert weighting.scale.tolist() == pytest.approx([3 * i / sum(inverse) for i in inverse], rel=0.03)
    norms = [slope * w for slope, w in zip(slopes, weighting.scale.tolist(), strict=True)]
    assert norms == pytest.approx([sum(norms) / 3] * 3, rel=0.03)


def test_two_tasks_of_unlike_scale_are_balanced_by_their_rates():
    """With x moved once after L(0) was noted, r is known, and with alpha 1 G rests at r times its mean."""
    model = Quadratics()
    weighting = gradnorm(model, {"near": 1.0, "steep": 0.2}, alpha=1.0, lr=0.005)
    learn(model, weighting, 1, 0.0, "near", "steep")
    start = {n: loss.item() for n, loss in model.terms("near", "steep").items()}
    with torch.no_grad():
        model.x.copy_(torch.tensor([0.9, 0.1, -0.1]))
    learn(model, weighting, 1500, 0.0, "near", "steep")
    rate = {n: loss.item() / start[n] for n, loss in model.terms("near", "steep").items()}
    slope = {
        n: weight * STEEPNESS[n] * (model.x - torch.tensor(CENTRES[n])).norm().item()
        for n, weight in zip(rate, (1.0, 0.2), strict=True)
    }
    share = {n: rate[n] / slope[n] for n in rate}
    expected = [2 * share[n] / sum(share.values()) for n in rate]
    assert max(expected) > 1.3
    assert weighting.scale.tolist() == pytest.approx(expected, rel=0.03)


def test_the_loss_moves_the_model_only_and_w_stays_positive_and_normalised():
    model = Quadratics()
    weighting = gradnorm(model, lr=0.5, minimum=0.05)
    for left, right in itertools.pairwise(learn(model, weighting, 20, 0.01)):
        assert left != right
        assert sum(right) == pytest.approx(3.0, abs=1e-5)
        assert min(right) > 0
    total, weights = weighting(model.terms())
    assert not any(weight.requires_grad for weight in weights.values())
    assert list(weighting.parameters()) == []
    expected = sum(weights[n] * loss for n, loss in model.terms().items())
    assert total.item() == pytest.approx(expected.item())


def test_terms_that_do_not_reach_the_shared_parameters_keep_their_weight():
    model = Quadratics()
    base = {**BASE, "elsewhere": 0.7, "constant": 0.2}
    weighting = gradnorm(model, base, alpha=0.3)
    for _ in range(5):
        terms = {**model.terms(), "elsewhere": model.unshared.square(), "constant": torch.tensor(3.0)}
        _, weights = weighting(terms)
        weighting.end_step()
    assert weighting.scale[3:].tolist() == [1.0, 1.0]
    assert weighting.scale[:3].sum().item() == pytest.approx(3.0)
    alone = Quadratics()
    assert weighting.scale[:3].tolist() == learn(alone, gradnorm(alone, alpha=0.3), 5)[-1]
    assert weights["elsewhere"].item() == pytest.approx(0.7)
    assert weighting.initial[3:].isnan().all()


def test_stages_with_fewer_terms_patterns_and_base_weight_0():
    model = Quadratics()
    weighting = gradnorm(model, alpha=0.3)
    learn(model, weighting, 5, 0.0, "near", "far")
    assert weighting.scale[2].item() == 1.0
    assert weighting.scale[:2].sum().item() == pytest.approx(2.0)
    learn(model, weighting, 5)
    assert weighting.scale[2].item() != 1.0
    assert weighting.scale.sum().item() == pytest.approx(3.0)
    before = weighting.scale.tolist()
    learn(model, weighting, 3, 0.0, "far")  # alone a term is its own mean
    assert weighting.scale[[0, 2]].tolist() == [before[0], before[2]]
    assert weighting.scale[1].item() == 1.0
    some = gradnorm(model, {**BASE, "steep": 0.0}, adapt=["near", "st*"])
    learn(model, some, 5)
    assert some.scale.tolist() == [1.0, 1.0, 1.0]


def test_a_frozen_shared_layer_leaves_the_weights_alone():
    model = Quadratics()
    weighting = gradnorm(model)
    model.x.requires_grad_(False)
    total, _ = weighting({**model.terms("near", "far"), "steep": model.unshared.square()})
    total.backward()
    weighting.end_step()
    assert weighting.scale.tolist() == [1.0, 1.0, 1.0]
    assert model.unshared.grad.item() == pytest.approx(0.1 * 2 * 2.0)


def test_accumulation_takes_the_mean_gradient_of_its_batches():
    """Two equal batches are one; a measurement every second batch sees the first of them."""
    one, two, every = Quadratics(), Quadratics(), Quadratics()
    single, double, sparse = gradnorm(one), gradnorm(two), gradnorm(every, every=2)
    for _ in range(4):
        single(one.terms())
        single.end_step()
        for weighting, model in ((double, two), (sparse, every)):
            weighting(model.terms())
            weighting(model.terms())
            weighting.end_step()
    assert double.scale.tolist() == pytest.approx(single.scale.tolist())
    assert sparse.scale.tolist() == pytest.approx(single.scale.tolist())
    sparse.begin_epoch(1)
    with torch.no_grad():
        every.x.add_(1.0)
    sparse(every.terms())
    sparse(every.terms())
    assert sparse.measured.tolist() == [1.0, 1.0, 1.0]
    before = sparse.scale.tolist()
    with torch.no_grad():
        sparse(every.terms())
    sparse.end_step()
    assert sparse.scale.tolist() != before


def test_steps_without_a_measurement_change_nothing():
    model = Quadratics()
    weighting = gradnorm(model)
    learn(model, weighting, 3)
    before = {name: value.clone() for name, value in weighting.state_dict().items()}
    with torch.no_grad():
        weighting(model.terms())
    weighting.end_step()
    assert all(torch.equal(before[name], value) for name, value in weighting.state_dict().items())


def test_loss_scaling_cancels_and_an_overflow_counts_for_nothing():
    model = Quadratics()
    plain, scaled, broken = gradnorm(model), gradnorm(model, scale=65536.0), gradnorm(model, scale=1e38)
    for weighting in (plain, scaled, broken):
        learn(model, weighting, 4)
    assert scaled.scale.tolist() == pytest.approx(plain.scale.tolist())
    assert plain.scale.tolist() != [1.0, 1.0, 1.0]
    assert broken.scale.tolist() == [1.0, 1.0, 1.0]


def test_initial_loss_is_the_first_positive_or_the_highest():
    model = Quadratics()
    first, highest = gradnorm(model), gradnorm(model, initial="highest")
    for value in (0.0, 2.0, 5.0, 1.0):
        for weighting in (first, highest):
            weighting({**model.terms("near", "far"), "steep": model.x.sum() * 0 + value})
    assert first.initial[2].item() == 2.0
    assert highest.initial[2].item() == 5.0
    assert first.initial[0].item() == pytest.approx(model.terms()["near"].item())
    assert (first.gradient.isfinite() & highest.gradient.isfinite()).all()


def test_a_model_must_name_its_shared_parameters():
    weighting = GradNormWeighting(GradNormConfig(), BASE)
    with pytest.raises(UserError, match=r"Linear does not say .* a method shared_parameters\(\)"):
        weighting.begin(nn.Linear(2, 2), lambda loss: loss)


def test_under_bf16_autocast_the_weights_stay_near_those_of_fp32():
    torch.manual_seed(0)
    trunk, heads = nn.Linear(16, 16), nn.ModuleList([nn.Linear(16, 4), nn.Linear(16, 4)])
    trunk.shared_parameters = lambda: list(trunk.parameters())
    images, results = torch.randn(8, 16), []
    for enabled in (False, True):
        weighting = gradnorm(trunk, {"a": 1.0, "b": 1.0}, lr=0.1)
        for _ in range(5):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                feature = trunk(images).relu()
                outputs = [head(feature) for head in heads]
            total, _ = weighting({"a": outputs[0].float().square().mean(), "b": 50 * outputs[1].float().var()})
            total.backward()
            weighting.end_step()
        results.append(weighting.scale.tolist())
    assert results[0][0] > 1.3
    assert results[1] == pytest.approx(results[0], rel=0.02)


def _scale_near(name: str) -> torch.Tensor:
    model = Quadratics()
    with torch.no_grad():
        model.x.copy_(torch.tensor(CENTRES[name]) + 0.1)  # where this term hardly pulls
    weighting = gradnorm(model)
    learn(model, weighting, 5)
    return weighting.scale


def _one_of_two_processes(rank: int, store: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.save(_scale_near(("near", "steep")[rank]), f"{out}.{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.check
def test_all_processes_keep_the_same_weights(tmp_path):
    out = str(tmp_path / "scale")
    torch.multiprocessing.spawn(_one_of_two_processes, (str(tmp_path / "store"), out), nprocs=2)
    first, second = (torch.load(f"{out}.{rank}") for rank in (0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(_scale_near("near"), _scale_near("steep"))
