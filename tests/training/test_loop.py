from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.training.parts import TinyLoader, TinyModel, recipe, uncertainty
from vireid.core.errors import TrainingDivergedError, UserError
from vireid.core.seeding import seed_everything
from vireid.training.loop import fit
from vireid.training.meters import CHECK_EVERY, EpochMeter
from vireid.training.schedules import lr_factor
from vireid.weighting.config import FixedConfig
from vireid.weighting.fixed import FixedWeighting


def run(tmp_path, config=None, model=None, loader=None, weighting=None, **options):
    model = model or TinyModel()
    options = {"seed": 3, "directory": tmp_path / "run", "resume_key": "k", **options}
    result = fit(model, loader or TinyLoader(), config or recipe(), weighting or uncertainty(), **options)
    return model, result


def test_curves_and_result(tmp_path):
    seen, steps = [], []
    _, result = run(tmp_path, on_epoch=seen.append, progress=lambda *args: steps.append(args))
    assert [entry["epoch"] for entry in result.curves] == [1, 2, 3, 4]
    assert seen == result.curves
    last = result.curves[-1]
    assert set(last["terms"]) == set(last["weights"]) == {"id", "centre"}
    assert last["terms"]["id"] < result.curves[0]["terms"]["id"]
    assert last["lr"] == pytest.approx(0.01 * lr_factor(recipe(), 3, 4, 5))
    assert last["grad_norm"] > 0
    assert last["images_per_second"] == pytest.approx(40 / last["seconds"])
    assert len(result.step_seconds) == 20
    assert min(result.step_seconds) > 0
    assert sum(result.step_seconds) <= result.seconds
    assert result.device == "cpu"
    assert result.resumed_from is None
    assert [step[:4] for step in steps[:6]] == [(1, 4, s, 5) for s in range(1, 6)] + [(2, 4, 1, 5)]
    assert all(math.isfinite(step[4]) for step in steps)


def test_recorded_total_is_the_weighted_sum(tmp_path):
    weighting = FixedWeighting(FixedConfig(), {"id": 1.0, "centre": 0.1})
    _, result = run(tmp_path, weighting=weighting)
    for entry in result.curves:
        assert entry["loss"] == pytest.approx(entry["terms"]["id"] + 0.1 * entry["terms"]["centre"], rel=1e-5)
        assert entry["weights"] == pytest.approx({"id": 1.0, "centre": 0.1})


def test_equals_a_plain_loop(tmp_path):
    """Fixed weights, SGD with weight decay and momentum, clipping: the same numbers as written out by hand."""
    config = recipe(
        epochs=2,
        optimiser={"name": "sgd", "lr": 0.1, "weight_decay": 0.01, "momentum": 0.9, "nesterov": True},
        schedule={"name": "step", "milestones": [1]},
        clip_norm=0.5,
    )
    trained, result = run(tmp_path, config, weighting=FixedWeighting(FixedConfig(), {"id": 1.0, "centre": 0.1}))
    model = TinyModel()
    velocity: dict[str, torch.Tensor] = {}
    norms = []
    for epoch in range(2):
        model.train()
        seed_everything(3, "epoch", epoch)
        for batch in TinyLoader().epoch(epoch):
            terms = model.loss_terms(model(batch), batch)
            model.zero_grad()
            (terms["id"] + 0.1 * terms["centre"]).backward()
            learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in learning.values()))
            norms.append(norm)
            for name, p in learning.items():
                gradient = p.grad * min(1.0, 0.5 / norm) + 0.01 * p.detach()
                velocity[name] = gradient if name not in velocity else 0.9 * velocity[name] + gradient
                lr = 0.1 * 0.1**epoch * (1.0 if name.startswith("head.") else 0.5)
                p.data -= lr * (gradient + 0.9 * velocity[name])
        model.end_epoch()
    for (name, ours), reference in zip(trained.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.allclose(ours.double(), reference.double(), rtol=1e-4, atol=1e-6), name
    assert [entry["grad_norm"] for entry in result.curves] == pytest.approx(
        [sum(norms[:5]) / 5, sum(norms[5:]) / 5], rel=1e-4
    )


def test_accumulation_is_the_mean_gradient(tmp_path):
    """Equal batches accumulated make the step of one; a rest at the epoch's end is a mean over the rest."""

    results = []
    for repeat, accumulation in ((1, 1), (2, 2), (3, 4)):
        loader = TinyLoader(steps=repeat)
        loader.epoch = lambda epoch, first_step=0, n=repeat: iter([next(TinyLoader().epoch(0))] * n)
        model = TinyModel()
        model.trunk[3].p = 0.0
        config = recipe(
            epochs=1, accumulation=accumulation, optimiser={"name": "sgd", "lr": 0.1}, schedule={"name": "constant"}
        )
        _, result = run(tmp_path / str(repeat), config, model, loader)
        assert len(result.step_seconds) == 1
        results.append(model.head.weight.detach())
    assert torch.allclose(results[0], results[1], atol=1e-7)
    assert torch.allclose(results[0], results[2], atol=1e-7)


def test_final_weights_are_the_models(tmp_path):
    model, result = run(tmp_path, recipe(channels_last=True))
    stored = load_file(result.weights)
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert "forward" not in vars(model)


def test_dev_evaluation_decides_nothing(tmp_path):
    calls = []

    def evaluate(model, scale) -> dict[str, float]:
        assert not model.training
        assert scale == 1
        torch.rand(7)  # draws from the global generator
        calls.append(model.epochs.item())
        return {"mAP": 0.5}

    plain, _ = run(tmp_path / "a")
    watched, result = run(tmp_path / "b", recipe(evaluate_every=2), evaluate=evaluate)
    assert calls == [2, 4]
    assert ["dev" in entry for entry in result.curves] == [False, True, False, True]
    assert result.curves[1]["dev"] == {"mAP": 0.5}
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))


def test_peak_memory_is_the_highest_epoch(tmp_path):
    peaks = iter([10, 40, 20, 30])

    @contextmanager
    def probe():
        yield SimpleNamespace(peak_bytes=next(peaks))

    assert run(tmp_path, peak_memory=probe)[1].peak_memory_bytes == 40


def test_bf16_runs_and_losses_are_float32(tmp_path):
    seen = set()

    class Watching(TinyModel):
        def loss_terms(self, output, batch):
            seen.add(output.features["shared"].dtype)
            return super().loss_terms(output, batch)

    model, result = run(tmp_path, recipe(precision="bf16"), Watching())
    assert seen == {torch.float32}
    assert model.trunk[0].weight.dtype == torch.float32
    assert result.curves[-1]["terms"]["id"] < result.curves[0]["terms"]["id"]
    full, _ = run(tmp_path / "full")
    assert not torch.equal(full.trunk[0].weight, model.trunk[0].weight)  # it did compute otherwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": recipe(precision="fp16")}, "fp16.*use bf16 or fp32"),
        ({"device": "cuda:99"}, "'cuda:99'.*use device=cpu"),
        ({"device": "gpu"}, "'gpu' is not known"),
    ],
)
def test_unusable_device_or_precision(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, **options)


def test_nan_term_is_named_and_the_last_checkpoint_stays(tmp_path):
    model = TinyModel()
    model.break_at = 13  # epoch 3, step 3
    with pytest.raises(TrainingDivergedError) as caught:
        run(tmp_path, model=model)
    message = str(caught.value)
    assert "centre became nan in epoch 3, step 3 of 5, at learning rate" in message
    assert "recipe.optimiser.lr" in message
    assert "checkpoint after epoch 2 is kept" in message
    healed, result = run(tmp_path)  # without the fault it goes on from there
    assert result.resumed_from == 2
    assert all(bool(p.isfinite().all()) for p in healed.parameters())


def test_exploding_learning_rate_stops(tmp_path):
    config = recipe(optimiser={"name": "sgd", "lr": 1e30}, schedule={"name": "constant"})
    with pytest.raises(
        TrainingDivergedError, match=r"became (nan|inf) in epoch 1, step \d of 5, at learning rate 1e\+30"
    ):
        run(tmp_path, config)


def test_infinite_gradient_is_named(tmp_path):
    class Steep(TinyModel):
        def loss_terms(self, output, batch):
            terms = super().loss_terms(output, batch)
            return {**terms, "centre": (output.features["shared"].sum() * 0.0).sqrt() * 1.0 + terms["centre"]}

    with pytest.raises(TrainingDivergedError, match="gradient norm became nan in epoch 1, step 1 of 5"):
        run(tmp_path, model=Steep())


def test_loader_is_closed_on_failure(tmp_path):
    closed = []

    class Watched(TinyLoader):
        def epoch(self, epoch: int, first_step: int = 0) -> Iterator:
            try:
                yield from super().epoch(epoch, first_step)
            finally:
                closed.append(epoch)

    model = TinyModel()
    model.break_at = 2
    with pytest.raises(TrainingDivergedError):
        run(tmp_path, model=model, loader=Watched())
    assert closed == [0]


def test_loader_that_ends_early_is_a_fault(tmp_path):
    loader = TinyLoader()
    loader.epoch = lambda epoch, first_step=0: iter(list(TinyLoader().epoch(0))[:3])
    with pytest.raises(ValueError, match="ended epoch 0 after 3 of its 5 batches"):
        run(tmp_path, loader=loader)
    with pytest.raises(ValueError, match="recipe wants 6 steps, the loader gives 5"):
        run(tmp_path, recipe(steps_per_epoch=6))


def test_uncovered_parameter_is_a_fault(tmp_path):
    class Forgetful(TinyModel):
        def parameter_groups(self):
            return super().parameter_groups()[:1]

    with pytest.raises(ValueError, match=r"Forgetful.parameter_groups leaves out head\.weight"):
        run(tmp_path, model=Forgetful())


def test_accelerator_faults_are_found_late_but_named_exactly():
    """The meter of an accelerator looks every 20 steps; the batch and the term that it names are still the first."""
    meter = EpochMeter(torch.device("cuda"), overflow_allowed=False)
    faults = []
    for step in range(2 * CHECK_EVERY):
        bad = float("nan") if step >= 7 else 1.0
        values = {"id": torch.tensor(1.0), "centre": torch.tensor(bad)}
        assert meter.add(values, torch.tensor(bad), {"id": torch.tensor(1.0), "centre": torch.tensor(1.0)}) is None
        faults.append(meter.add_norm(torch.tensor(bad), step))
        if faults[-1]:
            break
    assert len(faults) == CHECK_EVERY + 1
    assert (faults[-1].name, faults[-1].step) == ("centre", 7)
