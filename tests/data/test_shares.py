from __future__ import annotations

import numpy as np
import pytest
import torch

from vireid.core.types import Modality
from vireid.data.augmentation import single_view
from vireid.data.loader import IdentitySampler
from vireid.data.shares import OwnDraws, Share, SharedSampler

LABELS = np.repeat(np.arange(10), 8)
MODALITY = np.tile([int(Modality.INFRARED), int(Modality.VISIBLE)], 40)


def sampler() -> IdentitySampler:
    return IdentitySampler(LABELS, MODALITY, batch_size=24, identities=6, seed=5)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_shares_are_whole_identities_and_together_the_batch(count: int) -> None:
    whole = sampler()
    shares = [SharedSampler(sampler(), Share(index, count)) for index in range(count)]
    assert {share.steps_per_epoch for share in shares} == {whole.steps_per_epoch}
    assert {(share.batch_size, share.identities) for share in shares} == {(24 // count, 6 // count)}
    for epoch, step in [(0, 0), (0, whole.steps_per_epoch - 1), (3, 1)]:
        rows = [share.rows(epoch, step) for share in shares]
        assert np.array_equal(np.concatenate(rows), whole.rows(epoch, step))
        people = [set(LABELS[part].tolist()) for part in rows]
        assert sum(map(len, people)) == len(set.union(*people)) == 6
        for part in rows:
            assert (MODALITY[part] == int(Modality.VISIBLE)).sum() == len(part) / 2


def test_identities_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ValueError, match="6 identities cannot be shared out among 4 processes"):
        SharedSampler(sampler(), Share(0, 4))


def test_each_process_draws_its_own_augmentation_and_the_first_that_of_one() -> None:
    keys: list[tuple[int | str, ...]] = []

    def noting(images, modality, key, strength=1.0):
        keys.append(key)
        return single_view(images)

    for index in range(3):
        OwnDraws(noting, Share(index, 3))(torch.zeros(2, 3, 4, 4), torch.zeros(2), (7, "augmentation", 0, 1))
    assert keys[0] == (7, "augmentation", 0, 1)
    assert len(set(keys)) == 3
