"""The presets of IDKL and of its fork: what they are made of, and that their sums are those of the released codes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vireid.core.types import Batch
from vireid.losses.terms import evaluate_terms
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.overrides import compose
from vireid.training.schedules import lr_factor

MakeBatch = Callable[..., Batch]
PRESETS = ("idkl_released", "idkl_released_other_batch", "optimized_fork", "optimized")


def preset(name: str, *overrides: str) -> IDKLConfig:
    config = compose([f"model={name}", *overrides], "test").model
    assert isinstance(config, IDKLConfig)
    return config


def differing(one: IDKLConfig, other: IDKLConfig) -> dict[str, Any]:
    first, second = one.model_dump(), other.model_dump()
    return {key: value for key, value in first.items() if value != second[key]}


@pytest.mark.parametrize("name", PRESETS)
def test_the_small_size_is_the_same_method_on_a_smaller_trunk(name: str) -> None:
    small, full = preset(f"{name}_small"), preset(name)
    assert (small.backbone, small.width) == ("resnet18", 0.25)
    assert (full.backbone, full.width) == ("resnet50", 1.0)
    tuned = {"weights"} if name == "optimized" else set()  # as idkl_small, for a start from random weights
    assert differing(small, full).keys() == {"backbone", "width"} | tuned


def test_released_weights_are_the_method_s_own_and_the_fork_adds_its_toggles() -> None:
    released, fork = preset("idkl_released"), preset("optimized_fork")
    assert released.active_weights() == IDKLConfig().active_weights()
    assert differing(released, preset("idkl")).keys() == {"pseudo_labels", "classifier_init", "weights"}
    assert fork.active_weights() == IDKLConfig().active_weights() | {"fork_attention": 0.2}
    assert differing(preset("optimized"), preset("idkl")) == {"ibn": "a", "mha": "guidance", "margin": 0.3}
    assert differing(preset("optimized_small"), preset("idkl_small")) == {"ibn": "a", "mha": "guidance"}


@pytest.mark.parametrize("name", PRESETS)
def test_the_weighted_sum_is_the_released_formula(name: str, make_batch: MakeBatch) -> None:
    """The released codes add the terms by hand, with branches on the batch size; the presets do it by weights."""
    batch = make_batch(height=32, width=16)
    torch.manual_seed(0)
    model = IDKL(preset(name, "model.backbone=resnet18", "model.width=0.125"), 7)
    output = model(batch)
    terms = model.loss_terms(output, batch)
    arrays = {key: output.features[key] for key in ("shared", "specific", "normed", "normed_purified")}
    arrays |= {f"logits_{key}": output.logits[key] for key in ("shared", "specific")}
    arrays |= {f"{key}_logits": output.logits[key] for key in ("raw", "purified")}
    arrays |= {"labels": batch.labels, "infrared": batch.infrared}
    parts = evaluate_terms({key: value.detach().numpy() for key, value in arrays.items()}, model.config.margin)

    def inter(term: str) -> float:
        return parts[f"{term}_inter_visible"] + parts[f"{term}_inter_infrared"]

    if name == "idkl_released_other_batch":
        tgsa, csa_inter = 0.1 * (parts["tgsa_intra_vi"] + inter("tgsa")), 0.3
    else:
        tgsa = sum(parts[f"tgsa_intra_{pair}"] for pair in ("vi", "vx", "xi")) + 0.6 * inter("tgsa")
        csa_inter = 0.8
    expected = tgsa + parts["triplet_shared"] + parts["triplet_specific"]
    expected += parts["csa1_intra"] + parts["csa2_intra"] + csa_inter * (inter("csa1") + inter("csa2"))
    expected += 0.1 * (parts["purifier_entropy"] + parts["purifier_centroid"])
    expected += sum(terms[key].item() for key in ("id_shared", "id_specific", "modality", "pseudo_modality"))
    own = {"optimized_fork": {"fork_attention": 0.2}, "optimized": {"guidance_id": 1.0, "guidance_kl": 0.2}}
    expected += sum(weight * terms[key].item() for key, weight in own.get(name, {}).items())
    weighted = sum(weight * terms[key].item() for key, weight in model.default_weights().items())
    assert weighted == pytest.approx(expected, rel=1e-5)


def test_the_fork_s_learning_rate() -> None:
    """The fork sets iteration/(10·steps) of the rate in its epochs 1–9; then PyTorch's recursive cosine takes over."""
    recipe = compose(["model=optimized_fork_small", "recipe=optimized_fork"], "test").recipe
    steps, full, floor = 49, 3.5e-4, 8e-6
    assert (recipe.batch_size, recipe.identities, recipe.steps_per_epoch) == (32, 8, steps)
    assert (recipe.accumulation, recipe.clip_norm, recipe.total_epochs) == (4, 10.0, 400)

    def ours(epoch: int, step: int) -> float:
        return recipe.optimiser.lr * lr_factor(recipe, epoch, step, steps)

    for epoch in range(9):
        for step in (0, 20, 48):
            iteration = epoch * steps + step + 1
            assert ours(epoch, step) == pytest.approx(full * (iteration - 1) / (10 * steps), rel=2e-3)
    rate = 0.9 * full
    for epoch in range(9, 400):
        up, down = (1 + math.cos(math.pi * t / 400) for t in (epoch, epoch - 1))
        rate = floor + (rate - floor) * up / down
        assert ours(epoch, 0) == pytest.approx(rate, rel=2e-3)
