"""Identity-balanced sampler: P identities × K images, half of them visible, half infrared, or all of one modality."""

import math
from collections.abc import Sequence

import numpy as np

from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import IntArray, Modality

CROSS_MODAL = (Modality.INFRARED, Modality.VISIBLE)


class IdentitySampler:
    """Rows of every batch as a pure function of (seed, epoch, step).

    A batch is written identity by identity, K rows each, infrared and visible alternating, infrared first (IDKL,
    CVPR 2024, released code). An epoch goes over the identities in passes: each pass is a new random order without
    repetition, cut into whole batches (the C mod P identities left over differ from pass to pass). Within an epoch an
    identity's images are dealt in a random order that starts again when it is used up, so a batch repeats an image
    only where the identity has fewer than K/2 of that modality.

    Args:
        labels: N, identity of each image (any integers).
        modality: N, values of ``Modality``.
        batch_size: B = P·K.
        identities: P.
        seed: first part of every key.
        steps_per_epoch: batches in an epoch; by default as many as hold every image once, ⌈N / B⌉.
        modalities: what an identity's K images are shared out among, in the order of a batch's rows. A single one
            serves a trunk, which learns from visible images alone.

    Raises:
        UserError: B is not P×K with an even K, an identity lacks a modality, or the data has fewer than P identities.
    """

    def __init__(
        self,
        labels: IntArray,
        modality: IntArray,
        *,
        batch_size: int,
        identities: int,
        seed: int,
        steps_per_epoch: int | None = None,
        modalities: Sequence[Modality] = CROSS_MODAL,
    ) -> None:
        self.per_identity = _images_per_identity(batch_size, identities)
        self.batch_size = batch_size
        self.identities = identities
        self.seed = seed
        known, codes = np.unique(labels, return_inverse=True)
        if len(known) < identities:
            raise UserError(
                f"sampler: {identities} identities per batch, but the data has {len(known)}: "
                f"set identities to at most {len(known)}"
            )
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise UserError(f"sampler: steps_per_epoch is {steps_per_epoch}: give at least 1, or leave it out")
        self.num_identities = len(known)
        self.steps_per_epoch = steps_per_epoch or math.ceil(len(labels) / batch_size)
        self._modalities = tuple(modalities)
        if strange := set(np.unique(modality).tolist()) - {int(kind) for kind in self._modalities}:
            raise ValueError(f"images of modality {sorted(strange)} among those of {self._modalities}")
        # Group g = M·identity + position in `modalities`; images of a group lie together in every epoch's order.
        kinds = len(self._modalities)
        self._group = kinds * codes
        for position, kind in enumerate(self._modalities):
            self._group[modality == int(kind)] += position
        self._size = np.bincount(self._group, minlength=kinds * len(known))
        self._start = np.cumsum(self._size) - self._size
        if not self._size.all():
            empty = int(np.flatnonzero(self._size == 0)[0])
            lacking = self._modalities[empty % kinds].name.lower()
            raise UserError(
                f"sampler: identity {known[empty // kinds]} has no {lacking} image; every training identity needs both "
                "modalities: take it out of the split"
            )
        self._dealt: tuple[int, IntArray] | None = None

    def rows(self, epoch: int, step: int) -> IntArray:
        """Positions (B) of the images of one batch; ``step`` counts from 0 within the epoch."""
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step {step} is outside the epoch's {self.steps_per_epoch} steps")
        order, kinds = self._order(epoch), len(self._modalities)
        share = self.per_identity // kinds
        turn, position = divmod(step, self.num_identities // self.identities)
        people = generator(self.seed, "sampler", "identities", epoch, turn).permutation(self.num_identities)
        people = people[position * self.identities : (position + 1) * self.identities]
        groups = kinds * people[:, None] + np.arange(kinds)  # P×M
        dealt = turn * share + np.arange(share)  # the same deal for all: position in the group's endless order
        position = self._start[groups][:, None] + dealt[None, :, None] % self._size[groups][:, None]
        rows: IntArray = order[position].reshape(-1)  # P×K/M×M, identity by identity, modalities alternating
        return rows

    def _order(self, epoch: int) -> IntArray:
        """All images grouped by (identity, modality), in the epoch's random order within each group."""
        remembered = self._dealt
        if remembered is not None and remembered[0] == epoch:
            return remembered[1]
        shuffle = generator(self.seed, "sampler", "images", epoch).random(len(self._group))
        order = np.lexsort((shuffle, self._group)).astype(np.int64)
        self._dealt = (epoch, order)
        return order


def _images_per_identity(batch_size: int, identities: int) -> int:
    if identities < 1 or batch_size < 2 * identities:
        raise UserError(
            f"sampler: batch_size {batch_size} is too small for {identities} identities (P×K needs P ≥ 1 and K ≥ 2): "
            f"set batch_size to at least {2 * max(identities, 1)}"
        )
    per_identity, rest = divmod(batch_size, identities)
    if not rest and not per_identity % 2:
        return per_identity
    unit = 2 * identities
    lower, upper = batch_size // unit * unit, (batch_size // unit + 1) * unit
    choices = " or ".join(f"{size} ({identities}×{size // identities})" for size in (lower, upper))
    fault = (
        f"not divisible by {identities} identities"
        if rest
        else f"{identities} identities × {per_identity} images, and {per_identity} is odd"
    )
    raise UserError(
        f"sampler: batch_size {batch_size} is {fault}; it must be P×K with an even K (half visible, half infrared): "
        f"set batch_size to {choices}"
    )
