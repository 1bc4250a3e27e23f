"""Distances as re-ranking needs them: each image's nearest neighbours, its farthest image, and single pairs.

Two sources with one interface: matrices that are there already, and features whose distances are computed block by
block and never held whole. Images count queries first, then gallery. NumPy releases the interpreter lock inside its
loops, so that blocks of rows run side by side in threads.

Shapes: Q queries, G gallery images, N = Q + G, D feature width, k neighbours, P pairs.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, IntArray, Modality
from vireid.evaluation.scorers import Multiplied

Item = TypeVar("Item")
Result = TypeVar("Result")


def blocks(count: int, step: int) -> list[slice]:
    """Consecutive slices of at most ``step`` that cover ``count`` rows."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in the order of the items, by as many threads as torch may use."""
    given = list(items)
    workers = min(torch.get_num_threads(), len(given))
    if workers < 2:
        return [function(item) for item in given]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, given))


BLOCK_CELLS = 16_000_000  # distances held at once: 64 MB in single precision
PAIR_CELLS = 16_000_000  # feature values gathered at once for single pairs
THREAD_CELLS = 1_000_000  # distances in which one thread seeks neighbours
STRIDES = 32  # values of a row that are compared for one bound on its nearest


class Distances(Protocol):
    """Squared Euclidean distances among queries and gallery images."""

    num_query: int
    num_gallery: int
    recall: float  # share of the true neighbours that were found, once they have been sought

    def neighbours(self, k: int, *, queries_only: bool) -> IntArray:
        """The ``k`` nearest images of every image (N×k), itself first; equal distances by image number."""
        ...

    def farthest(self) -> FloatArray:
        """Distance of every image to the image farthest from it (N)."""
        ...

    def pairs(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Distances of P pairs of images."""
        ...

    def to_gallery(self, queries: slice) -> FloatArray:
        """Distances of some queries to the gallery (B×G); not to be written to."""
        ...


def nearest(distance: FloatArray, k: int) -> IntArray:
    """Columns of the ``k`` smallest values of each row, ascending; equal values in column order."""
    step = max(1, THREAD_CELLS // distance.shape[1])
    return np.concatenate(in_threads(lambda rows: _nearest(distance[rows], k), blocks(len(distance), step)))


def _nearest(distance: FloatArray, k: int) -> IntArray:
    # Minima over strided parts of a row bound its k-th smallest value from above, so that only the few values within
    # the bound are sorted.
    count, width = distance.shape
    strides = min(STRIDES, width // (2 * k))
    if strides < 2:
        return np.argsort(distance, axis=1, kind="stable")[:, :k].astype(np.int64)
    length = width // strides
    minima = distance[:, : length * strides].reshape(count, strides, length).min(axis=1)
    bound = np.partition(minima, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.divmod(np.flatnonzero(distance <= bound), width)
    by_value = np.lexsort((distance[row, column], row))  # stable: equal values stay in column order
    ends = np.cumsum(np.bincount(row, minlength=count))
    first = np.concatenate([[0], ends[:-1]])[:, None]
    return np.asarray(column[by_value[first + np.arange(k)]], dtype=np.int64)


def without_noise(distance: FloatArray) -> FloatArray:
    """The matrix with a zero diagonal: rounding must not hide an image from itself."""
    if distance.diagonal().any():
        distance = distance.copy()
        np.fill_diagonal(distance, 0.0)
    return distance


class QueryDistances:
    """Distances among the queries (Q×Q) with what the galleries of all trials share of them."""

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = without_noise(matrix)
        self._nearest: dict[int, IntArray] = {}

    def nearest(self, k: int) -> IntArray:
        """The nearest queries of each query (Q×k)."""
        if k not in self._nearest:
            self._nearest[k] = nearest(self.matrix, k)
        return self._nearest[k]

    @cached_property
    def farthest(self) -> FloatArray:
        """Largest distance of each row."""
        return np.asarray(self.matrix.max(axis=1))


class MatrixDistances:
    """Distances from three matrices; the queries' part is shared by the trials of a protocol."""

    recall = 1.0

    def __init__(self, queries: QueryDistances, query_gallery: FloatArray, gallery_gallery: FloatArray) -> None:
        self.num_query, self.num_gallery = query_gallery.shape
        self._queries = queries
        self._across = query_gallery
        self._back = np.ascontiguousarray(query_gallery.T)
        self._gallery = without_noise(gallery_gallery)

    def neighbours(self, k: int, *, queries_only: bool) -> IntArray:  # noqa: D102 - described by the interface
        among_queries = self._queries.nearest(min(k, self.num_query))
        if queries_only:
            return np.concatenate([among_queries, nearest(self._back, k)])
        kept = among_queries.shape[1]
        nearby = np.take_along_axis(self._queries.matrix, among_queries, axis=1)
        at = nearest(np.concatenate([nearby, self._across], axis=1), k)
        from_queries = np.take_along_axis(among_queries, np.minimum(at, kept - 1), axis=1)
        of_queries = np.where(at < kept, from_queries, at - kept + self.num_query)
        of_gallery = nearest(np.concatenate([self._back, self._gallery], axis=1), k)
        return np.concatenate([of_queries, of_gallery])

    def farthest(self) -> FloatArray:  # noqa: D102
        of_queries = np.maximum(self._queries.farthest, self._across.max(axis=1))
        of_gallery = np.maximum(self._back.max(axis=1), self._gallery.max(axis=1))
        return np.concatenate([of_queries, of_gallery])

    def pairs(self, rows: IntArray, columns: IntArray) -> FloatArray:  # noqa: D102
        distances = np.empty(len(rows), dtype=self._across.dtype)
        from_query, to_query = rows < self.num_query, columns < self.num_query
        for matrix, here, row, column in (
            (self._queries.matrix, from_query & to_query, 0, 0),
            (self._across, from_query & ~to_query, 0, self.num_query),
            (self._back, ~from_query & to_query, self.num_query, 0),
            (self._gallery, ~from_query & ~to_query, self.num_query, self.num_query),
        ):
            distances[here] = matrix[rows[here] - row, columns[here] - column]
        return distances

    def to_gallery(self, queries: slice) -> FloatArray:  # noqa: D102
        return self._across[queries]


class FeatureDistances:
    """Distances from features, in blocks; what one pass over all pairs finds is kept for the rest."""

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        self.num_query, self.num_gallery = len(query), len(gallery)
        self.recall = 1.0
        self._features = torch.cat([query.detach(), gallery.detach()])
        self._all = Multiplied(self._features)
        self._known: tuple[IntArray, FloatArray] = (np.empty(0, dtype=np.int64), np.empty(0))
        self._farthest: FloatArray | None = None

    def neighbours(self, k: int, *, queries_only: bool) -> IntArray:  # noqa: D102
        size = len(self._features)
        candidates = self.num_query if queries_only else size
        closest, near = np.empty((size, k), dtype=np.int64), []
        farthest = []
        step = max(1, BLOCK_CELLS // size)
        for start in range(0, size, step):
            block = self._all.squared_distances(self._features[start : start + step]).cpu().numpy()
            rows = np.arange(len(block))
            block[rows, start + rows] = 0.0  # rounding must not hide an image from itself
            farthest.append(block.max(axis=1))
            closest[start : start + step] = at = nearest(
                block if candidates == size else np.ascontiguousarray(block[:, :candidates]), k
            )
            near.append(np.take_along_axis(block, at, axis=1))
        self._farthest = np.concatenate(farthest)
        self._remember(closest, np.concatenate(near))
        return closest

    def farthest(self) -> FloatArray:  # noqa: D102
        if self._farthest is None:
            self._farthest = farthest_in(self._features, self._all)
        return self._farthest

    def pairs(self, rows: IntArray, columns: IntArray) -> FloatArray:  # noqa: D102
        keys, values = self._known
        wanted = rows * len(self._features) + columns
        at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
        known = keys[at] == wanted if len(keys) else np.zeros(len(rows), dtype=np.bool_)
        distances = np.empty(len(rows), dtype=values.dtype)
        distances[known] = values[at[known]]
        missing = np.flatnonzero(~known)
        step = max(1, PAIR_CELLS // self._features.shape[1])
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            difference = self._features[rows[part]] - self._features[columns[part]]
            distances[part] = difference.square_().sum(1).cpu().numpy()
        return distances

    def to_gallery(self, queries: slice) -> FloatArray:  # noqa: D102
        return np.asarray(self._gallery.squared_distances(self._features[: self.num_query][queries]).cpu().numpy())

    @cached_property
    def _gallery(self) -> Multiplied:
        return Multiplied(self._features[self.num_query :])

    def _remember(self, neighbours: IntArray, distances: FloatArray) -> None:
        size = len(self._features)
        keys = (np.arange(size)[:, None] * size + neighbours).ravel()
        order = np.argsort(keys)
        self._known = (keys[order], distances.ravel()[order])


def farthest_in(features: Tensor, others: Multiplied) -> FloatArray:
    """Largest squared distance of each feature to any of the others, block by block."""
    step = max(1, BLOCK_CELLS // len(others))
    largest = [
        others.squared_distances(features[start : start + step]).amax(1) for start in range(0, len(features), step)
    ]
    return np.asarray(torch.cat(largest).cpu().numpy())


NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Both are 1 where nothing changed."""

    cosine: float  # mean over images of the cosine between an image's two features
    overlap10: float  # mean over infrared queries: share of the ten nearest visible images that both features agree on


def fidelity(features: FloatArray, reference: FloatArray, modality: IntArray) -> Fidelity:
    """Compare features (N×D) with reference features of the same images; ``modality`` has N values of ``Modality``.

    Neighbours are by cosine among all visible images, ties by their order; with fewer than ten, all are neighbours.

    Raises:
        UserError: shapes that differ, or images of one modality alone.
    """
    if features.shape != reference.shape or len(modality) != len(features):
        raise UserError(
            f"features {features.shape}, reference {reference.shape} and {len(modality)} modalities: not of the same "
            "images"
        )
    ours, theirs = _unit(features), _unit(reference)
    infrared, visible = modality == int(Modality.INFRARED), modality == int(Modality.VISIBLE)
    if not infrared.any() or not visible.any():
        raise UserError("neighbours across modalities need visible and infrared images; one of them is missing")
    k = min(NEIGHBOURS, int(visible.sum()))
    ranked, expected = (nearest(-(unit[infrared] @ unit[visible].T), k) for unit in (ours, theirs))
    shared = [len(np.intersect1d(one, other)) / k for one, other in zip(ranked, expected, strict=True)]
    return Fidelity(float((ours * theirs).sum(axis=1).mean()), float(np.mean(shared)))


def _unit(features: FloatArray) -> FloatArray:
    wide = np.asarray(features, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny))
