import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.errors import UserError
from vireid.data.loader import IdentitySampler

COUNTS = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=9)


def images_of(counts):
    """Labels (spread, in mixed order) and modalities of identities with ``(visible, infrared)`` images each."""
    labels = np.concatenate([np.full(v + i, 3 * k + 1) for k, (v, i) in enumerate(counts)])
    modality = np.concatenate([np.r_[np.zeros(v, int), np.ones(i, int)] for v, i in counts])
    order = np.random.default_rng(0).permutation(len(labels))
    return labels[order], modality[order]


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.data())
def test_convention(counts, half, seed, epoch, data):
    identities = data.draw(st.integers(1, len(counts)))
    labels, modality = images_of(counts)
    K, B = 2 * half, 2 * half * identities
    sampler = IdentitySampler(labels, modality, batch_size=B, identities=identities, seed=seed, steps_per_epoch=12)
    passes = len(counts) // identities
    people = []
    for step in range(12):
        rows = sampler.rows(epoch, step)
        assert rows.shape == (B,)
        assert (modality[rows] == np.tile([1, 0], B // 2)).all()  # infrared first, alternating
        blocks = labels[rows].reshape(identities, K)
        assert (blocks == blocks[:, :1]).all()  # identity by identity
        assert len(set(blocks[:, 0])) == identities
        people += blocks[:, 0].tolist()
        for block in rows.reshape(identities, K):
            for drawn in (block[0::2], block[1::2]):
                size = ((labels == labels[drawn[0]]) & (modality == modality[drawn[0]])).sum()
                assert len(set(drawn.tolist())) == min(half, size)  # repeats only where images are short
        assert (sampler.rows(epoch, step) == rows).all()
    for start in range(0, 12 - passes + 1, passes):  # within a pass no identity comes twice
        one_pass = people[start * identities : (start + passes) * identities]
        assert len(set(one_pass)) == len(one_pass)


def test_rows_do_not_depend_on_what_was_asked_before():
    labels, modality = images_of([(5, 4)] * 7)

    def make(seed):
        return IdentitySampler(labels, modality, batch_size=12, identities=3, seed=seed)

    first, second = make(1), make(1)
    forward = {(e, s): first.rows(e, s) for e in range(3) for s in range(first.steps_per_epoch)}
    for (epoch, step), rows in reversed(forward.items()):
        assert (second.rows(epoch, step) == rows).all()
    assert not (forward[0, 0] == forward[1, 0]).all()
    assert not (
        forward[0, 0] == IdentitySampler(labels, modality, batch_size=12, identities=3, seed=2).rows(0, 0)
    ).all()


def test_an_epoch_deals_every_image_before_repeating_one():
    labels, modality = images_of([(6, 6)] * 4)
    sampler = IdentitySampler(labels, modality, batch_size=16, identities=4, seed=0)
    assert sampler.steps_per_epoch == 3  # 48 images in batches of 16
    rows = np.concatenate([sampler.rows(0, step) for step in range(3)])
    assert sorted(rows.tolist()) == list(range(48))


@pytest.mark.parametrize(
    ("batch_size", "identities", "message"),
    [
        (30, 8, r"batch_size 30 is not divisible by 8 identities.*set batch_size to 16 \(8×2\) or 32 \(8×4\)"),
        (24, 8, r"batch_size 24 is 8 identities × 3 images, and 3 is odd.*16 \(8×2\) or 32 \(8×4\)"),
        (8, 8, r"too small for 8 identities.*at least 16"),
        (80, 20, r"20 identities per batch, but the data has 9: set identities to at most 9"),
    ],
)
def test_errors_name_the_numbers_and_the_remedy(batch_size, identities, message):
    labels, modality = images_of([(2, 2)] * 9)
    with pytest.raises(UserError, match=message):
        IdentitySampler(labels, modality, batch_size=batch_size, identities=identities, seed=0)


def test_an_identity_without_a_modality_is_named():
    labels, modality = images_of([(2, 2)] * 3)
    keep = ~((labels == 4) & (modality == 1))
    with pytest.raises(UserError, match="identity 4 has no infrared image"):
        IdentitySampler(labels[keep], modality[keep], batch_size=4, identities=2, seed=0)
    sampler = IdentitySampler(labels, modality, batch_size=4, identities=2, seed=0, steps_per_epoch=5)
    with pytest.raises(ValueError, match="step 5 is outside"):
        sampler.rows(0, 5)
