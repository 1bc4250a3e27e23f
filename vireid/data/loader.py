"""Loaders: batches from the decoded-image cache, for training (a function of epoch and step) and for evaluation."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from vireid.core.types import Batch, ImageIndex, IntArray
from vireid.data.augmentation import Augmentation
from vireid.data.cache import ByteArray
from vireid.data.sampler import IdentitySampler
from vireid.data.transforms import normalise

Captions = Callable[[IntArray, int, int], Sequence[str]]  # rows of the index, epoch, step -> what is said of each


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

    def __init__(
        self,
        array: ByteArray,
        index: ImageIndex,
        sampler: IdentitySampler,
        augmentation: Augmentation,
        *,
        seed: int,
        workers: int = 1,
        prefetch: int = 3,
        strength: Callable[[int], float] | None = None,
        captions: Captions | None = None,
    ) -> None:
        if len(array) != len(index):
            raise ValueError(f"the cache holds {len(array)} images, the index {len(index)}")
        self.array = array
        self.index = index
        self.sampler = sampler
        self.augmentation = augmentation
        self.seed = seed
        self.workers = workers
        self.prefetch = prefetch
        self.strength = strength
        self.captions = captions
        self.num_classes = index.num_identities
        self._labels = torch.from_numpy(index.labels())
        self._modality = torch.from_numpy(index.modality)
        self._camera = torch.from_numpy(index.camera)

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
            captions=self._said(chosen.numpy(), epoch, step),
        )

    def _said(self, rows: IntArray, epoch: int, step: int) -> Sequence[str] | None:
        if self.captions is not None:
            return self.captions(rows, epoch, step)
        said = self.index.captions
        return None if said is None else tuple(said[row] for row in rows)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch from ``first_step`` on, preparing the next ones meanwhile.

        An error while preparing a batch is raised where that batch would have come. Closing the iterator early ends
        the threads.
        """
        tasks = (_call(self.batch, epoch, step) for step in range(first_step, self.steps_per_epoch))
        return _ahead(tasks, self.workers, self.prefetch)


class EvaluationLoader:
    """All images in the order of the index, normalised; the last batch may be smaller."""

    def __init__(
        self, array: ByteArray, index: ImageIndex, *, batch_size: int = 128, workers: int = 1, prefetch: int = 2
    ) -> None:
        if len(array) != len(index):
            raise ValueError(f"the cache holds {len(array)} images, the index {len(index)}")
        self.array = array
        self.index = index
        self.batch_size = batch_size
        self.workers = workers
        self.prefetch = prefetch
        self._labels = index.labels()

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
