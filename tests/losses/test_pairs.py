import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.errors import UserError
from vireid.losses.modality import modality_labels, pseudo_modality_labels
from vireid.losses.pairs import pair_rows


def alternating(identities: int, images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and infrared mask as the sampler gives them: infrared first, alternating."""
    labels = torch.arange(identities).repeat_interleave(images) * 3 + 1
    return labels, torch.arange(len(labels)) % 2 == 0


@given(st.integers(1, 6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_halves_align_by_identity(identities: int, half: int, random: object) -> None:
    labels, infrared = alternating(identities, 2 * half)
    flags = infrared.view(identities, -1).tolist()
    for row in flags:
        random.shuffle(row)  # type: ignore[attr-defined]
    infrared = torch.tensor(flags).flatten()
    pairs = pair_rows(labels, infrared)
    assert pairs.per_identity == half
    visible, other = pairs.align(labels).chunk(2)
    assert torch.equal(visible, other)
    assert torch.equal(visible, pairs.labels)
    assert pairs.align(infrared).tolist() == [False] * len(visible) + [True] * len(other)
    assert torch.equal(pairs.align(infrared).long(), modality_labels(pairs))


@pytest.mark.parametrize(
    ("labels", "infrared", "message"),
    [
        ([], [], "empty"),
        ([1, 1, 1, 2], [0, 1, 0, 1], "do not pair up"),
        ([1, 1, 1], [0, 1, 0], "2 visible and 1 infrared"),
        ([1, 1, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], r"blocks of \[2, 1\]"),
        ([1, 1, 2, 2, 1, 1], [0, 1, 0, 1, 0, 1], r"blocks of \[1, 1, 1\]"),
    ],
)
def test_batches_that_do_not_pair_up_are_named(labels: list[int], infrared: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pair_rows(torch.tensor(labels, dtype=torch.int64), torch.tensor(infrared, dtype=torch.bool))


@pytest.mark.parametrize(("identities", "images"), [(12, 10), (6, 10), (8, 4), (4, 2), (3, 6)])
def test_pseudo_labels_are_balanced_within_each_modality(identities: int, images: int) -> None:
    pairs = pair_rows(*alternating(identities, images))
    visible, infrared = pseudo_modality_labels(pairs).chunk(2)
    assert abs(int(visible.sum()) * 2 - len(visible)) <= 1
    assert abs(int(infrared.sum()) * 2 - len(infrared)) <= 1
    assert int(visible.sum() + infrared.sum()) == len(visible)


def test_pseudo_labels_equal_the_released_ones_on_alternating_batches() -> None:
    labels, infrared = alternating(12, 10)
    pairs = pair_rows(labels, infrared)
    modality = infrared.long()
    released = modality[: len(modality) // 2].repeat_interleave(2).roll(-1)
    assert torch.equal(pseudo_modality_labels(pairs), pairs.align(released))
