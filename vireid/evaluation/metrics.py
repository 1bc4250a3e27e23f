"""The only CMC, mAP and mINP: one vectorised core for every protocol.

Conventions (METHODS of the field, as AGW, TPAMI 2021, states them): AP is the mean over a query's hits of (hits so far
÷ rank); INP is the number of hits ÷ rank of the last hit. Ranking is stable: equal scores keep gallery order. A query
whose filtered gallery holds no image of its identity is left out of every denominator.

Shapes: Q queries, G gallery images, B queries of one block, H largest number of gallery images of one identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import FloatArray, IntArray

CmcConvention = Literal["dedup", "plain"]
CameraRule = Literal["none", "sysu", "same_id_same_cam"]
BoolArray = npt.NDArray[np.bool_]

BLOCK_CELLS = 4_000_000  # scores handled at once: about 100 MB of temporaries


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its range and direction, computed from the valid queries."""

    compute: Callable[[QueryMetrics], float]
    unit: str = "fraction"
    lowest: float = 0.0
    highest: float = 1.0
    higher_is_better: bool = True

    def describe(self) -> str:
        """Unit, range and direction in words, as records keep them."""
        direction = "higher" if self.higher_is_better else "lower"
        return f"{self.unit} in [{self.lowest:g}, {self.highest:g}], {direction} is better"


@dataclass(frozen=True, slots=True)
class QueryMetrics:
    """Metrics of every query, in query order; one entry per query in each array."""

    ap: FloatArray  # NaN where not valid
    inp: FloatArray  # NaN where not valid
    first_hit_rank: IntArray  # 1-based, by the CMC convention asked for; 0 where not valid
    valid: BoolArray  # whether the filtered gallery holds the query's identity

    def aggregate(self) -> dict[str, float]:
        """Every metric of ``METRICS`` over the valid queries, as fractions.

        Raises:
            UserError: no query has a match in its gallery.
        """
        if not self.valid.any():
            raise UserError(
                f"none of the {len(self.valid)} queries has an image of its identity in the gallery: no metric is "
                "defined; check that query and gallery come from the same split and that identities are numbered alike"
            )
        return {name: metric.compute(self) for name, metric in METRICS.items()}

    @staticmethod
    def concatenate(parts: Sequence[QueryMetrics]) -> QueryMetrics:
        """Join the metrics of consecutive query blocks."""
        return QueryMetrics(
            ap=np.concatenate([part.ap for part in parts]),
            inp=np.concatenate([part.inp for part in parts]),
            first_hit_rank=np.concatenate([part.first_hit_rank for part in parts]),
            valid=np.concatenate([part.valid for part in parts]),
        )


def _cmc(rank: int) -> Metric:
    return Metric(lambda queries: float((queries.first_hit_rank[queries.valid] <= rank).mean()))


METRICS: Mapping[str, Metric] = {
    "r1": _cmc(1),
    "r5": _cmc(5),
    "r10": _cmc(10),
    "r20": _cmc(20),
    "mAP": Metric(lambda queries: float(queries.ap[queries.valid].mean())),
    "mINP": Metric(lambda queries: float(queries.inp[queries.valid].mean())),
}


def metric_units() -> dict[str, str]:
    """Unit, range and direction of every metric by name."""
    return {name: metric.describe() for name, metric in METRICS.items()}


@dataclass(frozen=True, slots=True)
class Labels:
    """Identity and camera of each image of one side (query or gallery)."""

    identity: IntArray
    camera: IntArray

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, rows: Any) -> Labels:
        return Labels(self.identity[rows], self.camera[rows])


def _nothing(query: Labels, gallery: Labels) -> BoolArray | None:  # noqa: ARG001 - every rule has this signature
    return None


def _sysu(query: Labels, gallery: Labels) -> BoolArray | None:
    # Cameras 2 and 3 of SYSU-MM01 stand at the same place (Wu et al., ICCV 2017, §4).
    return np.asarray((gallery.camera == 2)[:, None] & (query.camera == 3))


def _same_id_same_cam(query: Labels, gallery: Labels) -> BoolArray | None:
    same_identity = gallery.identity[:, None] == query.identity
    return np.asarray(same_identity & (gallery.camera[:, None] == query.camera))


# A rule tells which gallery images do not exist for a query (G×B); None where it removes nothing at all.
CAMERA_RULES: Mapping[str, Callable[[Labels, Labels], BoolArray | None]] = {
    "none": _nothing,
    "sysu": _sysu,
    "same_id_same_cam": _same_id_same_cam,
}


def to_numpy(values: FloatArray | Tensor) -> FloatArray:
    """Return a float32 or float64 array; halves are widened, which is exact."""
    array = values.detach().to("cpu") if isinstance(values, Tensor) else np.asarray(values)
    if isinstance(array, Tensor):
        array = (array if array.dtype in (torch.float32, torch.float64) else array.float()).numpy()
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def rank_queries(
    scores: FloatArray | Tensor,
    query: Labels,
    gallery: Labels,
    *,
    rule: CameraRule = "none",
    cmc: CmcConvention = "dedup",
    distance: bool = False,
    block_cells: int = BLOCK_CELLS,
) -> QueryMetrics:
    """AP, INP and first-hit rank of every query.

    Args:
        scores: Q×G similarities (any float type), or distances with ``distance=True``; column-major is fastest.
        query: labels of the Q queries.
        gallery: labels of the G gallery images; their order decides ties.
        rule: which gallery images do not exist for a query.
        cmc: ``dedup`` counts ranks over the ranking with only the first image of each identity kept, ``plain`` over
            the whole ranking.
        distance: whether small values are good.
        block_cells: bound of the scores handled at once.

    Raises:
        UserError: shapes that disagree, an empty side, a value that is not finite, an unknown rule or convention.
    """
    values = to_numpy(scores)
    _check(values, query, gallery, rule, cmc)
    order = np.argsort(gallery.identity, kind="stable")  # an identity's images side by side
    by_image = np.ascontiguousarray(values.T)
    if (order[1:] < order[:-1]).any():
        by_image, gallery = by_image[order], gallery[order]
    layout = _Layout.of(gallery, order)
    rows = max(1, block_cells // len(gallery))
    parts = []
    for start in range(0, len(query), rows):
        block = slice(start, start + rows)
        signed = -by_image[:, block] if distance else by_image[:, block]
        parts.append(_rank_block(signed, query[block], gallery, layout, rule, cmc))
    return QueryMetrics.concatenate(parts)


def top_matches(
    scores: FloatArray | Tensor,
    query: Labels,
    gallery: Labels,
    k: int,
    *,
    rule: CameraRule = "none",
    distance: bool = False,
) -> IntArray:
    """Gallery positions of each query's best ``k`` images (Q×min(k, G)), −1 where a rule leaves fewer."""
    values = to_numpy(scores)
    signed = values.copy() if distance else -values
    removed = CAMERA_RULES[rule](query, gallery)
    if removed is not None:
        signed[removed.T] = np.inf
    best = np.argsort(signed, axis=1, kind="stable")[:, :k]
    return np.where(np.isinf(np.take_along_axis(signed, best, axis=1)), -1, best).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each identity's images lie in a gallery sorted by identity."""

    order: IntArray  # original position of each image: decides ties
    identity: IntArray  # distinct, ascending
    start: IntArray
    count: IntArray

    @staticmethod
    def of(gallery: Labels, order: IntArray) -> _Layout:
        identity, start, count = np.unique(gallery.identity, return_index=True, return_counts=True)
        return _Layout(order, identity, start, count)

    def rows(self, identities: IntArray) -> tuple[IntArray, BoolArray]:
        """Gallery rows of each query's identity (H×B, padded with 0) and which of them are real."""
        at = np.minimum(np.searchsorted(self.identity, identities), len(self.identity) - 1)
        count = np.where(self.identity[at] == identities, self.count[at], 0)
        slots = np.arange(max(1, int(count.max())))[:, None]
        real = slots < count
        return np.where(real, self.start[at] + slots, 0), real

    def identities_with(self, images: BoolArray) -> IntArray:
        """Number of identities of which some image is marked, per query (``images`` is G×B)."""
        marked = np.zeros((len(self.identity), images.shape[1]), dtype=np.bool_)
        for slot in range(int(self.count.max())):
            long_enough = self.count > slot
            marked[long_enough] |= images[self.start[long_enough] + slot]
        return _count(marked)


def _count(marks: BoolArray) -> IntArray:
    """Number of marks in each column; short integers keep the addition in vector registers."""
    dtype = np.int16 if len(marks) < 2**15 else np.int32
    return np.asarray(np.add.reduce(marks.view(np.int8), axis=0, dtype=dtype), dtype=np.int64)


def _rank_block(
    values: FloatArray, query: Labels, gallery: Labels, layout: _Layout, rule: CameraRule, cmc: CmcConvention
) -> QueryMetrics:
    """Rank one block of queries; ``values`` are G×B similarities, gallery rows sorted by identity.

    Only the ranks of the hits are needed. A hit's rank is one more than the number of images that score higher, so
    nothing is sorted: each of the H hits is compared with the gallery, many queries at a time. Tied hits are then
    corrected by gallery order.
    """
    columns = np.arange(len(query))
    rows, real = layout.rows(query.identity)
    removed = CAMERA_RULES[rule](query, gallery)
    if removed is not None:
        values = np.where(removed, -np.inf, values)
        real &= ~removed[rows, columns]
    hits = values[rows, columns]
    ranks = np.empty(rows.shape, dtype=np.int64)
    tied = np.empty(rows.shape, dtype=np.bool_)
    for slot, hit in enumerate(hits):
        better = _count(values > hit)
        ranks[slot] = 1 + better
        tied[slot] = _count(values >= hit) > better + 1
    for slot, column in np.argwhere(tied & real):
        equal = values[:, column] == hits[slot, column]
        ranks[slot, column] += (equal & (layout.order < layout.order[rows[slot, column]])).sum()

    count = real.sum(axis=0)
    valid = count > 0
    ranks[~real] = len(gallery) + 1  # what is no hit sorts behind every hit
    best = ranks.argmin(axis=0)
    first = ranks[best, columns]
    if cmc == "dedup":
        ahead = values > hits[best, columns]
        for column in np.flatnonzero(tied[best, columns] & valid):
            slot = best[column]
            equal = values[:, column] == hits[slot, column]
            ahead[:, column] |= equal & (layout.order < layout.order[rows[slot, column]])
        first = 1 + layout.identities_with(ahead)
    ranks.sort(axis=0)
    so_far = np.arange(1, len(ranks) + 1)[:, None]
    precision = np.where(so_far <= count, so_far / ranks, 0.0)
    divisor = np.where(valid, count, 1)
    return QueryMetrics(
        ap=np.where(valid, precision.sum(axis=0) / divisor, np.nan),
        inp=np.where(valid, count / ranks[divisor - 1, columns], np.nan),
        first_hit_rank=np.where(valid, first, 0).astype(np.int64),
        valid=valid,
    )


def _check(values: FloatArray, query: Labels, gallery: Labels, rule: str, cmc: str) -> None:
    if rule not in CAMERA_RULES:
        raise UserError(f"unknown camera rule '{rule}'{did_you_mean(rule, CAMERA_RULES)}")
    if cmc not in ("dedup", "plain"):
        raise UserError(f"unknown CMC convention '{cmc}'{did_you_mean(cmc, ('dedup', 'plain'))}")
    for side, labels in (("query", query), ("gallery", gallery)):
        if len(labels.camera) != len(labels.identity):
            raise UserError(
                f"{side}: {len(labels.identity)} identities but {len(labels.camera)} cameras; give one each per image"
            )
        if len(labels) == 0:
            raise UserError(f"the {side} is empty; check the protocol's mode and direction against the data set")
    if values.shape != (len(query), len(gallery)):
        raise UserError(
            f"scores have shape {values.shape}, but there are {len(query)} queries and {len(gallery)} gallery images"
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise UserError(
            f"score of query {row} and gallery image {column} is {values[row, column]}; "
            "the features hold NaN or infinity: check the model's weights"
        )
