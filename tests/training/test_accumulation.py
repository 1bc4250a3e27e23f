"""What accumulation changes for IDKL: whose rows see each other, term by term (docs/training.md says it in words)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

from tests.training.parts import recipe
from vireid.core.types import Batch, Modality
from vireid.models.idkl import IDKL, IDKLConfig
from vireid.training.loop import fit
from vireid.weighting.config import FixedConfig
from vireid.weighting.fixed import FixedWeighting

# Means over rows or identities: the mean over micro-batches is the mean over the large batch.
SEPARABLE = {"id_shared", "id_specific", "modality", "pseudo_modality", "purifier", "csa1_intra", "csa1_inter"}
# Compare rows with other rows: those of other micro-batches are out of sight.
RELATIONAL = {"triplet_shared", "triplet_specific", "tgsa_intra", "tgsa_inter", "csa2_intra", "csa2_inter"}
IDENTITIES, IMAGES = 8, 4


def model() -> IDKL:
    torch.manual_seed(0)
    return IDKL(IDKLConfig(backbone="resnet18", width=0.125, weights={"purifier": 1.0}), IDENTITIES)


def batch() -> Batch:
    count = IDENTITIES * IMAGES
    zeros = torch.zeros(count, dtype=torch.long)
    return Batch(
        images=torch.randn(count, 3, 32, 16, generator=torch.Generator().manual_seed(1)),
        labels=torch.arange(IDENTITIES).repeat_interleave(IMAGES),
        modality=torch.tensor([int(Modality.INFRARED), int(Modality.VISIBLE)]).repeat(count // 2),
        camera=zeros,
        view=zeros,
    )


def part(whole: Batch, rows: slice) -> Batch:
    tensors = {f.name: value[rows] for f in fields(whole) if isinstance(value := getattr(whole, f.name), Tensor)}
    return replace(whole, **tensors)


def halves(whole: Batch) -> list[Batch]:
    middle = len(whole) // 2
    return [part(whole, slice(0, middle)), part(whole, slice(middle, None))]


def gradients(net: IDKL, batches: list[Batch]) -> dict[str, Tensor]:
    """Gradient by term of the trunk's first weights, as the mean over the batches."""
    weight = net.embedder.stem.conv1.weight
    sums: dict[str, Tensor] = {}
    for one in batches:
        terms = net.loss_terms(net(one), one)
        for name, value in terms.items():
            (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
            sums[name] = sums.get(name, torch.zeros_like(weight)) + gradient / len(batches)
    return sums


def without_batch_statistics(net: IDKL) -> IDKL:
    """Training mode in everything but batch norm and dropout, whose effects are beside the point."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.Dropout):
            module.eval()
    return net


def relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_every_term_is_classified():
    assert set(model().default_weights()) == SEPARABLE | RELATIONAL


def test_which_terms_accumulate_to_the_large_batch():
    net = without_batch_statistics(model())
    whole = gradients(net, [batch()])
    accumulated = gradients(net, halves(batch()))
    differences = {name: relative_difference(accumulated[name], whole[name]) for name in whole}
    assert {name for name, value in differences.items() if value < 1e-4} == SEPARABLE, differences
    assert min(differences[name] for name in RELATIONAL) > 0.005, differences


def test_batch_norm_sees_its_micro_batch_only():
    """With batch statistics even the terms of single rows differ."""
    net = model().train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    whole, accumulated = gradients(net, [batch()]), gradients(net, halves(batch()))
    assert relative_difference(accumulated["id_shared"], whole["id_shared"]) > 0.01


@pytest.mark.parametrize(("accumulation", "seen"), [(1, [set(range(8))]), (2, [set(range(4)), set(range(4, 8))])])
def test_identities_that_see_each_other_in_a_fit(tmp_path, accumulation, seen):
    """One optimiser step over the same images: the loss compares the identities of one micro-batch."""
    compared: list[set[int]] = []

    class Watching(IDKL):
        def loss_terms(self, output, batch):
            compared.append(set(batch.labels.tolist()))
            return super().loss_terms(output, batch)

    class Loader:
        steps_per_epoch = accumulation

        def epoch(self, epoch, first_step=0):
            yield from halves(batch()) if accumulation == 2 else [batch()]

    net = Watching(model().config, IDENTITIES)
    config = recipe(
        batch_size=IDENTITIES * IMAGES // accumulation,
        identities=IDENTITIES // accumulation,
        epochs=1,
        accumulation=accumulation,
        activation_checkpointing=True,
        schedule={"name": "constant"},
    )
    weighting = FixedWeighting(FixedConfig(), net.default_weights())
    result = fit(net, Loader(), config, weighting, seed=0, directory=tmp_path, resume_key="k")
    assert compared == seen
    assert len(result.step_seconds) == 1
