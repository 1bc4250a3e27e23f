"""Ranks in a gallery of any size from one pass over it: the gallery goes by in blocks, of which nothing is kept.

The scores of the true matches are computed first. Then, block by block, the images that come before each match are
counted: those earlier in the gallery that score at least as high, and those later that score higher, so that ties fall
as they would in the full matrix. Scores are compared to the last bit, so that all must come out of one arithmetic:
products of one shape, the matches' among them. Whether they did is seen, since every match goes by once more in its own
block; if a score is another there, there is no answer, and the caller holds whole rows of the matrix instead.

Shapes: Q queries, G gallery images, C images of a block, H largest number of gallery images of one identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vireid.core.types import BoolArray, FloatArray, IntArray
from vireid.evaluation.metrics import Labels, QueryMetrics, removed_images
from vireid.evaluation.neighbours import blocks, in_threads
from vireid.evaluation.protocols import CameraRule, CmcConvention
from vireid.evaluation.ranks import SORTED_FROM, GalleryLayout, HitRanks

PRODUCT_ROWS = 2048  # images multiplied at once; galleries of fewer are not streamed
BLOCK_PRODUCTS = 64  # products counted at once, at most: a query's scores in them fit the cache of a core
BLOCK_BYTES = 1 << 29  # bound of the scores held at once, and of the marks of identities
QUERIES_TOGETHER = 64  # by one thread

Scores = Callable[[slice | IntArray], Tensor]


def queries_at_once(layout: GalleryLayout) -> int:
    """For how many queries one pass over the gallery keeps the bounds of memory."""
    of_matches = 64 * int(layout.count.max())  # positions, scores and ranks of a query's
    return max(1, BLOCK_BYTES // max(8 * PRODUCT_ROWS, len(layout.identity), of_matches))


def rank_streamed(
    scores: Scores, query: Labels, gallery: Labels, layout: GalleryLayout, *, rule: CameraRule, cmc: CmcConvention
) -> QueryMetrics | None:
    """AP, INP and first-hit rank of every query; None where products of one shape do not round alike.

    Args:
        scores: finite similarities (Q×n) of all queries to the n gallery images of a slice, or of these positions.
        query: labels of the Q queries.
        gallery: labels of the G gallery images, ``PRODUCT_ROWS`` or more; their order decides ties.
        layout: of the gallery.
        rule: see ``rank_queries``.
        cmc: see ``rank_queries``.
    """
    if not _rounds_alike(scores):
        return None
    matches = _matches(scores, query, gallery, layout, rule)
    ahead = _Ahead(matches, np.searchsorted(layout.identity, gallery.identity) if cmc == "dedup" else None)
    kind = torch.from_numpy(matches.score).dtype
    held = torch.empty((len(query), _block_rows(len(query), len(gallery), kind.itemsize)), dtype=kind)
    for block in blocks(len(gallery), held.shape[1]):
        values = _read(scores, block, len(gallery), held)
        if not matches.same(values, block.start):
            return None
        removed = removed_images(query, gallery[block], rule)
        if removed is not None:
            np.copyto(values, -np.inf, where=removed.T)
        ahead.count(values, block.start)
    first = ahead.identities()
    hits = HitRanks.of(1 + ahead.images, matches.real, None if first is None else 1 + first)
    return QueryMetrics(hits.ap, hits.inp, hits.first, hits.valid)


def _rounds_alike(scores: Scores) -> bool:
    """Whether a score is the same wherever its image stands in a product: MKL's float64, for one, is not."""
    rows = np.roll(np.arange(PRODUCT_ROWS), 5)
    return bool((scores(slice(0, PRODUCT_ROWS))[:, rows] == scores(rows)).all())


def _block_rows(queries: int, images: int, item_bytes: int) -> int:
    products = BLOCK_BYTES // (queries * item_bytes * PRODUCT_ROWS)
    return PRODUCT_ROWS * min(max(products, 1), BLOCK_PRODUCTS, -(-images // PRODUCT_ROWS))


def _read(scores: Scores, block: slice, images: int, held: Tensor) -> FloatArray:
    """Scores of a block of the gallery (Q×C), in the memory of ``held``."""
    values = held[:, : block.stop - block.start]
    for start in range(block.start, block.stop, PRODUCT_ROWS):
        end = min(start + PRODUCT_ROWS, block.stop)
        first = min(start, images - PRODUCT_ROWS)  # the last product reaches back: all have one shape
        product = scores(slice(first, first + PRODUCT_ROWS))
        values[:, start - block.start : end - block.start] = product[:, start - first : end - first]
    array: FloatArray = values.numpy()
    return array


@dataclass(frozen=True, slots=True)
class _Matches:
    """The true matches of each query, in gallery order (H×Q each)."""

    at: IntArray  # position in the gallery
    own: BoolArray  # whether there is such an image; what is left is padding
    real: BoolArray  # whether it exists for the query, too
    score: FloatArray  # 0 where not own

    def same(self, values: FloatArray, start: int) -> bool:
        """Whether scores of the block (Q×C) that begins at ``start`` are those of its matches, to the last bit."""
        slot, number = np.nonzero(self.own & (self.at >= start) & (self.at < start + values.shape[1]))
        return bool((values[number, self.at[slot, number] - start] == self.score[slot, number]).all())


def _matches(scores: Scores, query: Labels, gallery: Labels, layout: GalleryLayout, rule: CameraRule) -> _Matches:
    rows, own = layout.rows(query.identity)
    at, real = layout.order[rows], own.copy()
    for one in range(len(query)):
        slots = np.flatnonzero(own[:, one])
        removed = removed_images(query[one : one + 1], gallery[at[slots, one]], rule)
        if removed is not None:
            real[slots, one] = ~removed[:, 0]
    images = np.unique(at[own]) if own.any() else at[0, :1]
    slot, number = np.nonzero(own)
    column = np.searchsorted(images, at[own])
    score: FloatArray | None = None
    for part in blocks(len(images), PRODUCT_ROWS):
        product = scores(np.resize(images[part], PRODUCT_ROWS)).cpu().numpy()
        score = np.zeros(own.shape, dtype=product.dtype) if score is None else score
        here = (column >= part.start) & (column < part.stop)
        score[slot[here], number[here]] = product[number[here], column[here] - part.start]
    assert score is not None
    return _Matches(at, own, real, score)


class _Ahead:
    """What comes before each match in a query's ranking, counted block by block."""

    def __init__(self, matches: _Matches, identity: IntArray | None) -> None:
        """``identity``: number of each gallery image's, where identities before the best match are asked for."""
        self.images = np.zeros(matches.at.shape, dtype=np.int64)
        self._matches = matches
        self._best = np.where(matches.real, matches.score, -np.inf).argmax(axis=0)  # of equals the first in the gallery
        self._identity = identity
        shape = (matches.at.shape[1], 0 if identity is None else int(identity.max()) + 1)
        self._marked = np.zeros(shape, dtype=np.bool_)

    def count(self, values: FloatArray, start: int) -> None:
        """Add the block (Q×C) that begins at gallery position ``start``; removed images hold minus infinity."""
        in_threads(lambda queries: self._add(values, start, queries), blocks(len(values), QUERIES_TOGETHER))

    def identities(self) -> IntArray | None:
        """Identities with an image before the best match (Q); None where not asked for."""
        return None if self._identity is None else self._marked.sum(axis=1, dtype=np.int64)

    def _add(self, values: FloatArray, start: int, queries: slice) -> None:
        for number in range(queries.start, queries.stop):
            row, slots = values[number], np.flatnonzero(self._matches.real[:, number])
            at, score = self._matches.at[:, number] - start, self._matches.score[:, number]
            self.images[slots, number] += _before(row, at[slots], score[slots])
            if self._identity is not None and len(slots):
                best = self._best[number]
                identities = self._identity[start : start + len(row)]
                self._marked[number, identities[_marks(row, at[best], score[best])]] = True


def _before(row: FloatArray, at: IntArray, score: FloatArray) -> IntArray:
    """How many images of a block come before each match, which lies at ``at`` from its start, inside or out of it."""
    if len(at) < SORTED_FROM:
        return np.array([_count(row, *match) for match in zip(at, score, strict=True)], dtype=np.int64)
    ascending = np.sort(row)
    left, right = (ascending.searchsorted(score, side=side) for side in ("left", "right"))
    counts = len(row) - np.where(at >= len(row), left, right)
    tied = np.flatnonzero((at >= 0) & (at < len(row)) & (right - left > 1))
    if len(tied):  # of equals those earlier in the gallery, which a stable order leaves before them
        place = np.empty(len(row), dtype=np.int64)
        place[np.argsort(row, kind="stable")] = np.arange(len(row))
        counts[tied] += place[at[tied]] - left[tied]
    return np.asarray(counts)


def _count(row: FloatArray, at: int, score: float) -> int:
    if at >= len(row):  # images before it win a tie
        return int(np.count_nonzero(row >= score))
    if at < 0:
        return int(np.count_nonzero(row > score))
    return int(np.count_nonzero(row[:at] >= score) + np.count_nonzero(row[at:] > score))


def _marks(row: FloatArray, at: int, score: float) -> BoolArray:
    """The images that ``_count`` counts."""
    marks = row > score
    inside = min(max(at, 0), len(row))
    marks[:inside] = row[:inside] >= score
    return marks
