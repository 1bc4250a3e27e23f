"""Loaders: batches from the decoded-image cache, for training (a function of epoch and step) and for evaluation."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch

from vireid.core.errors import UserError
from vireid.core.seeding import generator
from vireid.core.types import Batch, ByteArray, ImageIndex, IntArray, Modality
from vireid.data.augmentation import Augmentation, normalise

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


Captions = Callable[[IntArray, int, int], Sequence[str]]  # rows of the index, epoch, step -> what is said of each


@dataclass(eq=False)
class TrainingLoader:
    """Augmented batches of an image cache.

    ``batch(epoch, step)`` is a pure function: neither workers nor what was drawn before decide anything.

    Args:
        array: N×3×H×W uint8, as ``cached_images`` gives it, in the order of ``index``.
        index: what is known of the images; labels are contiguous over its sorted identities.
        sampler: rows of every batch.
        augmentation: a registered augmentation.
        seed: first part of every key.
        workers: threads that prepare batches ahead; 0 prepares in the caller.
        prefetch: batches prepared ahead.
        strength: augmentation strength (0…1) of an epoch, for a curriculum; 1 by default.
        captions: what is said of the images at given rows in a step; those of ``index`` by default.
    """

    array: ByteArray
    index: ImageIndex
    sampler: IdentitySampler
    augmentation: Augmentation
    _: KW_ONLY
    seed: int
    workers: int = 1
    prefetch: int = 3
    strength: Callable[[int], float] | None = None
    captions: Captions | None = None

    def __post_init__(self) -> None:
        _check_size(self.array, self.index)
        self.num_classes = self.index.num_identities
        self._labels = torch.from_numpy(self.index.labels())
        self._modality = torch.from_numpy(self.index.modality)
        self._camera = torch.from_numpy(self.index.camera)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return self.sampler.steps_per_epoch

    def batch(self, epoch: int, step: int) -> Batch:
        """Return the batch of one step."""
        rows = self.sampler.rows(epoch, step)
        images = torch.from_numpy(self.array[rows])
        strength = 1.0 if self.strength is None else self.strength(epoch)
        key = (self.seed, "augmentation", epoch, step)
        augmented = self.augmentation(images, self._modality[torch.from_numpy(rows)], key, strength)
        chosen = torch.from_numpy(rows)[augmented.rows]
        return Batch(
            images=augmented.images,
            labels=self._labels[chosen],
            modality=self._modality[chosen],
            camera=self._camera[chosen],
            view=augmented.view,
            captions=self._captions_of(chosen.numpy(), epoch, step),
        )

    def _captions_of(self, rows: IntArray, epoch: int, step: int) -> Sequence[str] | None:
        if self.captions is not None:
            return self.captions(rows, epoch, step)
        captions = self.index.captions
        return None if captions is None else tuple(captions[row] for row in rows)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from ``first_step`` on, preparing the next ones meanwhile.

        An error while preparing a batch is raised where that batch would have come. Closing the iterator early ends
        the threads.
        """
        tasks = (_call(self.batch, epoch, step) for step in range(first_step, self.steps_per_epoch))
        return _ahead(tasks, self.workers, self.prefetch)


@dataclass(eq=False)
class EvaluationLoader:
    """All images in the order of the index, normalised; the last batch may be smaller."""

    array: ByteArray
    index: ImageIndex
    _: KW_ONLY
    batch_size: int = 128
    workers: int = 1
    prefetch: int = 2

    def __post_init__(self) -> None:
        _check_size(self.array, self.index)
        self._labels = self.index.labels()

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.index), self.batch_size)
        return _ahead((_call(self._batch, start) for start in starts), self.workers, self.prefetch)

    def _batch(self, start: int) -> Batch:
        rows = slice(start, start + self.batch_size)
        captions = self.index.captions
        images = normalise(torch.from_numpy(np.array(self.array[rows])))

        def take(values: IntArray) -> torch.Tensor:
            return torch.from_numpy(values[rows].copy())

        return Batch(
            images=images,
            labels=take(self._labels),
            modality=take(self.index.modality),
            camera=take(self.index.camera),
            view=torch.zeros(len(images), dtype=torch.int64),
            captions=None if captions is None else captions[rows],
        )


def _check_size(array: ByteArray, index: ImageIndex) -> None:
    if len(array) != len(index):
        raise ValueError(f"the cache holds {len(array)} images, the index {len(index)}")


def _call(function: Callable[..., Batch], *arguments: int) -> Callable[[], Batch]:
    return lambda: function(*arguments)


def _ahead(tasks: Iterable[Callable[[], Batch]], workers: int, prefetch: int) -> Iterator[Batch]:
    """Yield the results of ``tasks`` in order, up to ``prefetch`` of them computed ahead by ``workers`` threads."""
    if workers < 1:
        for task in tasks:
            yield task()
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    waiting: deque[Future[Batch]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > prefetch:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
