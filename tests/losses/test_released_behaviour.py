"""What the released codes do otherwise: label smoothing, pseudo-modality labels, TGSA without its cross graph."""

import math

import pytest
import torch

from vireid.losses.identity import cross_entropy
from vireid.losses.modality import modality_labels, pseudo_modality_labels
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import Pairs, pair_rows
from vireid.losses.pull import feature_pull
from vireid.losses.tgsa import tgsa_intra

ALTERNATING = [1, 0]  # infrared first, as the sampler gives the rows of an identity


def pairs_of(identities: int, per_identity: int, order: str) -> tuple[Pairs, torch.Tensor]:
    """Alignment of a batch and the modality of its rows as they come."""
    labels = torch.arange(identities).repeat_interleave(2 * per_identity)
    modality = torch.tensor(ALTERNATING).repeat(identities * per_identity)
    if order == "visible first":  # the fork's sampler: all visible rows, then all infrared ones
        labels = torch.arange(identities).repeat_interleave(per_identity).repeat(2)
        modality = torch.tensor([0, 1]).repeat_interleave(identities * per_identity)
    return pair_rows(labels, modality == 1), modality


@pytest.mark.parametrize(("identities", "per_identity"), [(2, 2), (4, 1), (3, 5)])
@pytest.mark.parametrize("order", ["alternating", "visible first"])
def test_released_pseudo_labels_are_the_first_half_s_twice_rolled(
    identities: int, per_identity: int, order: str
) -> None:
    pairs, modality = pairs_of(identities, per_identity, order)
    half = modality.tolist()[: len(modality) // 2]
    twice = [label for label in half for _ in range(2)]
    expected = torch.tensor(twice[1:] + twice[:1])
    assert torch.equal(pseudo_modality_labels(pairs, "released"), pairs.align(expected))


@pytest.mark.parametrize(("identities", "per_identity"), [(2, 2), (12, 5), (8, 2)])
def test_released_equals_balanced_on_alternating_rows_and_visible_in_the_fork_s_order(
    identities: int, per_identity: int
) -> None:
    alternating, _ = pairs_of(identities, per_identity, "alternating")
    balanced = pseudo_modality_labels(alternating)
    assert torch.equal(pseudo_modality_labels(alternating, "released"), balanced)
    by_modality = [balanced[modality_labels(alternating) == m].float().mean().item() for m in (0, 1)]
    assert by_modality == [0.5, 0.5]
    blocks, _ = pairs_of(identities, per_identity, "visible first")
    assert torch.equal(pseudo_modality_labels(blocks, "released"), pseudo_modality_labels(alternating, "visible"))
    assert not pseudo_modality_labels(blocks, "released").any()


@pytest.mark.parametrize("spread", [2, 395])
def test_smoothing_spread_over_more_classes_than_the_head_has(spread: int) -> None:
    logits = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 0, 0, 1])
    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        normaliser = math.log(sum(math.exp(x) for x in row))
        target = [0.9 * (c == label) + 0.1 / spread for c in range(2)]
        expected -= sum(t * (x - normaliser) for t, x in zip(target, row, strict=True)) / 6
    assert cross_entropy(logits, labels, 0.1, spread).item() == pytest.approx(expected, rel=1e-12)
    assert cross_entropy(logits, labels, 0.1, 2).item() == pytest.approx(cross_entropy(logits, labels, 0.1).item())
    assert torch.equal(cross_entropy(logits, labels, 0.0, spread), cross_entropy(logits, labels))


def test_without_the_cross_graph_one_pair_of_graphs_is_left() -> None:
    distances = euclidean(torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    whole, part = tgsa_intra(distances), tgsa_intra(distances, cross=False)
    assert part.keys() == {"vi"}
    assert torch.equal(part["vi"], whole["vi"])


def test_feature_pull_is_the_mean_square_and_spares_its_target() -> None:
    feature = torch.tensor([[1.0, 2.0], [0.0, -1.0]], requires_grad=True)
    target = torch.tensor([[0.0, 2.0], [3.0, -1.0]], requires_grad=True)
    loss = feature_pull(feature, target)
    loss.backward()
    assert loss.item() == pytest.approx((1 + 0 + 9 + 0) / 4)
    assert target.grad is None
    assert torch.allclose(feature.grad, (feature - target).detach() / 2)  # type: ignore[arg-type]
