"""Nearest neighbours with faiss, for galleries up to a million; the extra ``faiss``.

``exact`` compares with every image, ``ivf`` with those of the nearest cells of a k-means partition, ``ivfpq`` with
their product-quantised codes, a byte per four dimensions (Jégou et al., TPAMI 2011), and again with the features of
the best candidates. As many cells are searched as a sample needs to find nearly all of its true neighbours, since
re-ranking suffers more than its share from those that are missing; what is still missed is measured and reported.

Shapes: Q queries, G gallery images, k neighbours, D feature width.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vireid.core.errors import optional_module
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, IntArray
from vireid.evaluation.neighbours import FeatureDistances, farthest_in, nearest
from vireid.evaluation.scorers import Multiplied, squared_distances

Kind = Literal["exact", "ivf", "ivfpq"]

READ_ROWS = 65_536  # gallery rows added at once
PER_CELL = 64  # training features per cell; faiss wants at least 39
COMPARED_CELLS = 4_000_000  # feature values of candidates gathered at once
RECALL = 0.98  # share of a sample's true neighbours that decides how many cells are searched
TUNED_ROWS, TUNED_NEIGHBOURS = 200, 21  # that sample
CANDIDATES = 16  # times k: quantised candidates that are compared again by their features
SAMPLE = 1000  # images whose neighbours are sought exactly to measure recall
FAR_SAMPLE = 4096  # images among which the approximate kinds seek the farthest


class FaissIndex:
    """An index over gallery features; the features stay with the caller, who may map them from a file.

    Raises:
        UserError: faiss is not installed.
    """

    def __init__(self, gallery: FloatArray | Tensor, kind: Kind) -> None:
        faiss = _faiss()
        self.kind, self._gallery = kind, gallery
        count, width = gallery.shape
        if kind == "exact":
            self._index: Any = faiss.IndexFlatL2(width)
        else:
            cells = max(1, min(count // PER_CELL, 2 ** round(np.log2(4 * np.sqrt(count)))))
            codes = next(size for size in (width // 4, width // 2, width, 1) if size and width % size == 0)
            layout = f"IVF{cells},Flat" if kind == "ivf" else f"IVF{cells},PQ{codes}x{8 if count >= 4096 else 4}"
            self._index = faiss.index_factory(width, layout)
            rows = generator("faiss training", count).permutation(count)[: max(PER_CELL * cells, FAR_SAMPLE)]
            self._index.train(self._rows(np.sort(rows)))
        for start in range(0, count, READ_ROWS):
            self._index.add(self._rows(slice(start, start + READ_ROWS)))
        if kind != "exact":
            self._choose_probes(cells)

    def search(self, query: FloatArray | Tensor, k: int) -> tuple[IntArray, FloatArray]:
        """The ``k`` nearest gallery images of each query and their squared distances (Q×k each), nearest first.

        Positions are −1 where the searched cells hold fewer than ``k`` images.
        """
        wanted = min(len(self._gallery), k * CANDIDATES if self.kind == "ivfpq" else k)
        rows = _plain(query)
        distances, positions = self._index.search(rows, wanted)
        if self.kind != "ivfpq":
            return positions, distances
        exact = np.empty(distances.shape, dtype=np.float32)
        step = max(1, COMPARED_CELLS // (wanted * rows.shape[1]))
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            candidates = self._rows(np.maximum(positions[block], 0).ravel()).reshape(*positions[block].shape, -1)
            exact[block] = np.square(candidates - rows[block, None]).sum(axis=2)
        exact[positions < 0] = np.inf
        best = np.argsort(exact, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(positions, best, axis=1), np.take_along_axis(exact, best, axis=1)

    def _choose_probes(self, cells: int) -> None:
        """Double the number of cells that are searched until the sample finds enough, or nothing more."""
        count = len(self._gallery)
        sample = generator("faiss probes", count).permutation(count)[:TUNED_ROWS]
        query, wanted = self._rows(sample), min(count, TUNED_NEIGHBOURS)
        exact = _exact(query, self._gallery, wanted)
        probes, before = min(8, cells), 0.0
        while True:
            self._index.nprobe = probes
            share = recall(self.search(query, wanted)[0], exact)
            if share >= RECALL or share <= before or probes == cells:
                return
            probes, before = min(cells, 2 * probes), share

    def _rows(self, rows: slice | IntArray) -> FloatArray:
        return _plain(self._gallery[rows])


class FaissDistances(FeatureDistances):
    """Distances for re-ranking whose neighbours faiss finds; ``recall`` says what share of them an exact search shares.

    The approximate kinds seek the farthest image, by which distances are divided, among a sample.
    """

    def __init__(self, query: Tensor, gallery: Tensor, kind: Kind) -> None:
        super().__init__(query, gallery)
        _faiss()
        self._kind = kind

    def neighbours(self, k: int, *, queries_only: bool) -> IntArray:  # noqa: D102 - described by the interface
        candidates = self._features[: self.num_query] if queries_only else self._features
        index = FaissIndex(candidates, self._kind)
        size = len(self._features)
        neighbours, distances = np.empty((size, k), dtype=np.int64), np.empty((size, k), dtype=np.float32)
        for start in range(0, size, READ_ROWS):
            rows = slice(start, start + READ_ROWS)
            neighbours[rows], distances[rows] = _ordered(*index.search(self._features[rows], k), start, len(candidates))
        self.recall = self._recall(neighbours, candidates)
        self._remember(neighbours, distances)
        return neighbours

    def farthest(self) -> FloatArray:  # noqa: D102
        others = self._features
        if self._kind != "exact" and len(others) > FAR_SAMPLE:
            rows = generator("faiss farthest", len(others)).permutation(len(others))[:FAR_SAMPLE]
            others = others[rows]
        return farthest_in(self._features, Multiplied(others))

    def _recall(self, neighbours: IntArray, candidates: Tensor) -> float:
        size = len(self._features)
        rows = np.sort(generator("faiss recall", size).permutation(size)[:SAMPLE])
        return recall(neighbours[rows], _exact(self._features[rows], candidates, neighbours.shape[1]))


def _exact(query: FloatArray | Tensor, gallery: FloatArray | Tensor, k: int) -> IntArray:
    """The true ``k`` nearest gallery images of a few queries, the gallery read in blocks."""
    rows = torch.from_numpy(_plain(query))
    distances = [
        squared_distances(rows, torch.from_numpy(_plain(gallery[start : start + READ_ROWS]))).numpy()
        for start in range(0, len(gallery), READ_ROWS)
    ]
    return nearest(np.concatenate(distances, axis=1), k)


def recall(neighbours: IntArray, exact: IntArray) -> float:
    """Share of the exact neighbours (Q×k) that are among those found (Q×k), in any order."""
    return float(np.mean([np.isin(right, got).mean() for got, right in zip(neighbours, exact, strict=True)]))


def _ordered(neighbours: IntArray, distances: FloatArray, start: int, size: int) -> tuple[IntArray, FloatArray]:
    """Put every image first among its own neighbours, and fill what the searched cells did not hold.

    Each missing neighbour becomes the image itself again, which adds nothing to a reciprocal set.
    """
    itself = start + np.arange(len(neighbours))
    distances = np.where(neighbours >= 0, distances, np.inf)
    inside = itself < size
    is_own = neighbours == itself[:, None]
    distances[is_own] = -1.0
    lacking = inside & ~is_own.any(axis=1)  # its cell was not searched, or duplicates filled the list
    neighbours[lacking, -1], distances[lacking, -1] = itself[lacking], -1.0
    order = np.lexsort((neighbours, distances), axis=1)
    neighbours, distances = np.take_along_axis(neighbours, order, axis=1), np.take_along_axis(distances, order, axis=1)
    missing = neighbours < 0
    neighbours = np.where(missing, np.where(inside, itself, neighbours[:, 0])[:, None], neighbours)
    return neighbours, np.where(missing | (distances < 0), 0.0, distances)


def _plain(features: FloatArray | Tensor) -> FloatArray:
    array = features.detach().cpu().numpy() if isinstance(features, Tensor) else features
    return np.ascontiguousarray(array, dtype=np.float32)


def _faiss() -> Any:
    faiss = optional_module("faiss", "faiss", "search exactly without it (reranking.search=exact)")
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss
