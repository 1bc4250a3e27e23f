"""Ranks of the true matches of a block of queries: the array core below every CMC, mAP and mINP.

Only the matches' ranks are needed, and the rank of a match is one more than the number of images that score higher, so
similarities are counted instead of sorted: each match is compared with the whole gallery, many queries at a time. Where
identities have many images, the values (not the images) are sorted once and the matches looked up, which is the
same count. Ties are then settled by gallery order, exactly.

Shapes: G gallery images sorted by identity, B queries, H largest number of gallery images of one identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vireid.core.types import Array, BoolArray, FloatArray, IntArray

SORTED_FROM = 16  # matches per query from which one sort of the values is cheaper than counting for each
MANY_IMAGES = 64  # images of one identity from which marks are reduced by segment instead of image by image


@dataclass(frozen=True, slots=True)
class GalleryLayout:
    """Where each identity's images lie in a gallery sorted by identity."""

    order: IntArray  # original position of each image: decides ties
    identity: IntArray  # distinct, ascending
    start: IntArray
    count: IntArray

    @staticmethod
    def of(identity: IntArray) -> GalleryLayout:
        """Layout of a gallery with these identities, in its original order."""
        order = np.argsort(identity, kind="stable")
        return GalleryLayout(order, *np.unique(identity[order], return_index=True, return_counts=True))

    @property
    def in_order(self) -> bool:
        """Whether the gallery came sorted by identity."""
        return not bool((self.order[1:] < self.order[:-1]).any())

    def rows(self, identities: IntArray) -> tuple[IntArray, BoolArray]:
        """Gallery rows of each query's identity (H×B, padded with 0) and which of them are real."""
        at = np.minimum(np.searchsorted(self.identity, identities), len(self.identity) - 1)
        count = np.where(self.identity[at] == identities, self.count[at], 0)
        slots = np.arange(max(1, int(count.max())))[:, None]
        real = slots < count
        return np.where(real, self.start[at] + slots, 0), real

    def identities_with(self, images: BoolArray) -> IntArray:
        """Number of identities of which some image is marked, per query (``images`` is G×B)."""
        if self.count.max() > MANY_IMAGES:
            return _count(np.logical_or.reduceat(images, self.start, axis=0))
        marked = np.zeros((len(self.identity), images.shape[1]), dtype=np.bool_)
        for slot in range(int(self.count.max())):
            long_enough = self.count > slot
            marked[long_enough] |= images[self.start[long_enough] + slot]
        return _count(marked)


@dataclass(frozen=True, slots=True)
class HitRanks:
    """Average precision, inverse negative penalty and first-hit rank of each query of a block (B each)."""

    ap: FloatArray  # NaN where not valid
    inp: FloatArray  # NaN where not valid
    first: IntArray  # 0 where not valid
    valid: BoolArray

    @staticmethod
    def of(ranks: IntArray, real: BoolArray, first: IntArray | None) -> HitRanks:
        """From the ranks of the matches (H×B) and which of them are real.

        ``first`` is the first-hit rank where it is none of these.
        """
        count = real.sum(axis=0)
        valid = count > 0
        ascending = np.sort(np.where(real, ranks, np.iinfo(np.int64).max), axis=0)
        so_far = np.arange(1, len(ascending) + 1)[:, None]
        precision = np.where(so_far <= count, so_far / ascending, 0.0)
        divisor = np.where(valid, count, 1)
        return HitRanks(
            ap=np.where(valid, precision.sum(axis=0) / divisor, np.nan),
            inp=np.where(valid, count / ascending[divisor - 1, np.arange(len(count))], np.nan),
            first=np.where(valid, ascending[0] if first is None else first, 0).astype(np.int64),
            valid=valid,
        )


def rank_hits(
    values: FloatArray, identity: IntArray, removed: BoolArray | None, layout: GalleryLayout, *, dedup: bool
) -> HitRanks:
    """Rank the true matches of one block of queries.

    Args:
        values: G×B similarities, gallery rows sorted by identity; removed images hold minus infinity.
        identity: of the B queries.
        removed: gallery images that do not exist for a query (G×B), or None.
        layout: of the gallery.
        dedup: count the first-hit rank over identities instead of images.
    """
    columns = np.arange(len(identity))
    rows, real = layout.rows(identity)
    if removed is not None:
        real &= ~removed[rows, columns]
    hits = values[rows, columns]
    better, tied = _sorted_counts(values, hits, real) if len(rows) >= SORTED_FROM else _counts(values, hits)
    ranks = 1 + better
    tied &= real
    for slot in np.flatnonzero(tied.any(axis=1)):
        at = np.flatnonzero(tied[slot])
        ranks[slot, at] += _count(_tied_before(values[:, at], hits[slot, at], layout.order, rows[slot, at]))

    ranks[~real] = len(values) + 1  # what is no hit sorts behind every hit
    first = None
    if dedup:
        best = ranks.argmin(axis=0)
        hit, row = hits[best, columns], rows[best, columns]
        ahead = values > hit
        at = np.flatnonzero(tied[best, columns] & real.any(axis=0))
        if len(at):
            ahead[:, at] |= _tied_before(values[:, at], hit[at], layout.order, row[at])
        first = 1 + layout.identities_with(ahead)
    return HitRanks.of(ranks, real, first)


def _counts(values: FloatArray, hits: FloatArray) -> tuple[IntArray, BoolArray]:
    """How many images score higher than each hit (H×B), and whether another one scores the same."""
    better = np.empty(hits.shape, dtype=np.int64)
    tied = np.empty(hits.shape, dtype=np.bool_)
    for slot, hit in enumerate(hits):
        better[slot] = _count(values > hit)
        tied[slot] = _count(values >= hit) > better[slot] + 1
    return better, tied


def _sorted_counts(values: FloatArray, hits: FloatArray, real: BoolArray) -> tuple[IntArray, BoolArray]:
    """The same from one sort of each query's values."""
    ascending = np.array(values.T, order="C")  # a copy even where one query makes it contiguous already
    ascending.sort(axis=1)
    better = np.zeros(hits.shape, dtype=np.int64)
    tied = np.zeros(hits.shape, dtype=np.bool_)
    for column, row in enumerate(ascending):
        valid = real[:, column]
        hit = hits[valid, column]
        above = row.searchsorted(hit, side="right")
        better[valid, column] = len(row) - above
        tied[valid, column] = above - row.searchsorted(hit, side="left") > 1
    return better, tied


def _tied_before(values: FloatArray, hits: FloatArray, order: IntArray, rows: IntArray) -> BoolArray:
    """Images that score as the hit does and come before it in the gallery (G×B)."""
    return np.asarray((values == hits) & (order[:, None] < order[rows]))


def _count(marks: Array) -> IntArray:
    """Number of marks in each column; short integers keep the addition in vector registers."""
    dtype = np.int16 if len(marks) < 2**15 else np.int32
    return np.asarray(np.add.reduce(marks.view(np.int8), axis=0, dtype=dtype), dtype=np.int64)
