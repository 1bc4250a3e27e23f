"""The only CMC, mAP and mINP: one vectorised core for every protocol.

Conventions (METHODS of the field, as AGW, TPAMI 2021, states them): AP is the mean over a query's hits of (hits so far
÷ rank); INP is the number of hits ÷ rank of the last hit. Ranking is stable: equal scores keep gallery order. A query
whose filtered gallery holds no image of its identity is left out of every denominator.

Shapes: Q queries, G gallery images, B queries of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import BoolArray, FloatArray, ImageIndex, IntArray
from vireid.evaluation.neighbours import blocks, in_threads
from vireid.evaluation.protocols import CameraRule, CmcConvention
from vireid.evaluation.ranks import GalleryLayout, rank_hits

BLOCK_CELLS = 500_000  # scores handled at once by a thread: what its cache holds


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

    def __getitem__(self, rows: Any) -> QueryMetrics:
        return QueryMetrics(self.ap[rows], self.inp[rows], self.first_hit_rank[rows], self.valid[rows])

    @staticmethod
    def concatenate(blocks: Sequence[QueryMetrics]) -> QueryMetrics:
        """Join the metrics of consecutive query blocks."""
        return QueryMetrics(
            ap=np.concatenate([part.ap for part in blocks]),
            inp=np.concatenate([part.inp for part in blocks]),
            first_hit_rank=np.concatenate([part.first_hit_rank for part in blocks]),
            valid=np.concatenate([part.valid for part in blocks]),
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
    """Identity and camera of each image of one side (query or gallery), and its modality where a rule asks for it."""

    identity: IntArray
    camera: IntArray
    modality: IntArray | None = None  # values of Modality

    @staticmethod
    def of(index: ImageIndex) -> Labels:
        """Labels of all images of an index."""
        return Labels(index.identity, index.camera, index.modality)

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, rows: Any) -> Labels:
        return Labels(self.identity[rows], self.camera[rows], None if self.modality is None else self.modality[rows])


Rule = Callable[[Labels, Labels], BoolArray | None]


def _nothing(query: Labels, gallery: Labels) -> BoolArray | None:  # noqa: ARG001 - every rule has this signature
    return None


def _sysu(query: Labels, gallery: Labels) -> BoolArray | None:
    # Cameras 2 and 3 of SYSU-MM01 stand at the same place (Wu et al., ICCV 2017, §4).
    return np.asarray((gallery.camera == 2)[:, None] & (query.camera == 3))


def _same_id_same_cam(query: Labels, gallery: Labels) -> BoolArray | None:
    same_identity = gallery.identity[:, None] == query.identity
    return np.asarray(same_identity & (gallery.camera[:, None] == query.camera))


def _sysu_two_way(query: Labels, gallery: Labels) -> BoolArray | None:
    # The same place, whichever of its cameras the query is from.
    from_2, from_3 = gallery.camera[:, None] == 2, gallery.camera[:, None] == 3
    return np.asarray((from_2 & (query.camera == 3)) | (from_3 & (query.camera == 2)))


def _sysu_mixed(query: Labels, gallery: Labels) -> BoolArray | None:
    return _either(_sysu_two_way, _same_id_same_cam, query, gallery)


def _same_id_same_modality(query: Labels, gallery: Labels) -> BoolArray | None:
    if query.modality is None or gallery.modality is None:
        raise ValueError("matches of the other modality need labels with modalities")
    same_identity = gallery.identity[:, None] == query.identity
    return np.asarray(same_identity & (gallery.modality[:, None] == query.modality))


def _either(one: Rule, other: Rule, query: Labels, gallery: Labels) -> BoolArray:
    removed, further = one(query, gallery), other(query, gallery)
    assert removed is not None
    assert further is not None
    return removed | further


# A camera rule tells which gallery images do not exist for a query (G×B); None where it removes nothing at all. Those
# that end in ``_other`` leave its identity's images of the other modality alone.
CAMERA_RULES: Mapping[str, Rule] = {
    "none": _nothing,
    "sysu": _sysu,
    "same_id_same_cam": _same_id_same_cam,
    "sysu_two_way": _sysu_two_way,
    "sysu_mixed": _sysu_mixed,
    "sysu_mixed_other": partial(_either, _sysu_mixed, _same_id_same_modality),
    "same_id_same_cam_other": partial(_either, _same_id_same_cam, _same_id_same_modality),
}


def is_junk(identity: IntArray) -> BoolArray:
    """Whether gallery images are junk, which no query is scored on: negative identities, as Market-1501 writes them."""
    return np.asarray(identity < 0)


def removed_images(query: Labels, gallery: Labels, rule: str) -> BoolArray | None:
    """Gallery images that do not exist for a query (G×B): those of a camera rule, and junk; None where all exist."""
    removed, junk = CAMERA_RULES[rule](query, gallery), is_junk(gallery.identity)
    if not junk.any():
        return removed
    everywhere = np.broadcast_to(junk[:, None], (len(gallery), len(query)))
    return everywhere if removed is None else removed | everywhere


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
        scores: Q×G similarities (any float type), or distances with ``distance=True``.
        query: labels of the Q queries.
        gallery: labels of the G gallery images; their order decides ties.
        rule: which gallery images do not exist for a query; those of negative identities exist for none.
        cmc: ``dedup`` counts ranks over the ranking with only the first image of each identity kept, ``plain`` over
            the whole ranking.
        distance: whether small values are good.
        block_cells: bound of the scores handled at once.

    Raises:
        UserError: shapes that disagree, an empty side, a value that is not finite, an unknown rule or convention, a
            negative query identity.
    """
    values = to_numpy(scores)
    _check(values, query, gallery, rule, cmc)
    by_image = np.negative(values.T, order="C") if distance else np.array(values.T, order="C")
    return rank_by_image(by_image, query, gallery, rule=rule, cmc=cmc, block_cells=block_cells)


def rank_by_image(
    values: FloatArray,
    query: Labels,
    gallery: Labels,
    *,
    rule: CameraRule,
    cmc: CmcConvention,
    block_cells: int = BLOCK_CELLS,
) -> QueryMetrics:
    """The same from finite similarities laid out by gallery image (G×Q), which are overwritten."""
    layout = GalleryLayout.of(gallery.identity)
    if not layout.in_order:
        values, gallery = values[layout.order], gallery[layout.order]
    return rank_sorted(values, query, gallery, layout, rule=rule, cmc=cmc, block_cells=block_cells)


def rank_sorted(
    values: FloatArray,
    query: Labels,
    gallery: Labels,
    layout: GalleryLayout,
    *,
    rule: CameraRule,
    cmc: CmcConvention,
    block_cells: int = BLOCK_CELLS,
) -> QueryMetrics:
    """The same where gallery rows and labels are sorted as ``layout`` says."""

    def ranked(block: slice) -> QueryMetrics:
        some, labels = values[:, block], query[block]
        removed = removed_images(labels, gallery, rule)
        if removed is not None:
            np.copyto(some, -np.inf, where=removed)
        hits = rank_hits(some, labels.identity, removed, layout, dedup=cmc == "dedup")
        return QueryMetrics(hits.ap, hits.inp, hits.first, hits.valid)

    return QueryMetrics.concatenate(in_threads(ranked, blocks(len(query), max(1, block_cells // len(gallery)))))


def filtered_counts(query: Labels, gallery: Labels, rule: CameraRule) -> tuple[IntArray, IntArray]:
    """Per query, the gallery images that a rule leaves it, and how many of these are of its identity.

    Queries of one identity, camera and modality share both, so each such kind is counted once.
    """
    columns = [query.identity, query.camera, *([] if query.modality is None else [query.modality])]
    kinds, back = np.unique(np.stack(columns), axis=1, return_inverse=True)
    distinct = Labels(*kinds)
    removed = removed_images(distinct, gallery, rule)
    same = gallery.identity[:, None] == distinct.identity
    left = np.ones_like(same) if removed is None else ~removed
    return left.sum(axis=0)[back], (left & same).sum(axis=0)[back]


_RULE_WORDS = {
    "sysu": ("sysu (camera 2, for queries of camera 3)", "these are camera numbers of SYSU-MM01"),
    "same_id_same_cam": ("same-id-same-cam (same camera)", "every image needs the number of the camera that took it"),
    "sysu_two_way": ("of one place (cameras 2 and 3)", "these are camera numbers of SYSU-MM01"),
    "sysu_mixed": ("of one place or camera", "these are camera numbers of SYSU-MM01"),
    "sysu_mixed_other": ("of one place, camera or modality", "these are camera numbers of SYSU-MM01"),
    "same_id_same_cam_other": (
        "of one camera or modality",
        "every image needs the number of the camera that took it",
    ),
}


def require_matches(metrics: QueryMetrics, query: Labels, gallery: Labels, rule: str) -> None:
    """Explain why no query has a match where a rule has removed all there were; see ``QueryMetrics.aggregate``.

    Raises:
        UserError: with their number and the cameras of both sides.
    """
    if rule == "none" or metrics.valid.any():
        return
    before = int((filtered_counts(query, gallery, "none")[1] > 0).sum())
    if before:
        named, remedy = _RULE_WORDS[rule]
        sides = [_cameras(name, labels) for name, labels in (("queries", query), ("gallery", gallery))]
        raise UserError(
            f"{before} of {len(query)} queries have matches, all removed by the rule {named}: {sides[0]}, {sides[1]}; "
            f"{remedy}, or use rule none, which leaves out no image"
        )


def _cameras(name: str, labels: Labels) -> str:
    cameras = np.unique(labels.camera).tolist()
    shown = ", ".join(map(str, cameras[:9])) + ("…" if len(cameras) > 9 else "")
    return f"{name} of camera{'s' if len(cameras) > 1 else ''} {shown}"


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
    removed = removed_images(query, gallery, rule)
    if removed is not None:
        signed[removed.T] = np.inf
    best = np.argsort(signed, axis=1, kind="stable")[:, :k]
    return np.where(np.isinf(np.take_along_axis(signed, best, axis=1)), -1, best).astype(np.int64)


def check_labels(query: Labels, gallery: Labels, rule: str, cmc: str) -> None:
    """Check the labels of both sides and the names of rule and convention.

    Raises:
        UserError: an unknown name, an empty side, or identities and cameras of different lengths.
    """
    if rule not in CAMERA_RULES:
        raise UserError(f"unknown camera rule '{rule}'{did_you_mean(rule, CAMERA_RULES)}")
    if cmc not in ("dedup", "plain"):
        raise UserError(f"unknown CMC convention '{cmc}'{did_you_mean(cmc, ('dedup', 'plain'))}")
    if (query.identity < 0).any():
        row = int(np.flatnonzero(query.identity < 0)[0])
        raise UserError(
            f"query {row} has identity {query.identity[row]}; negative numbers mark junk, which is no person to look "
            "for: leave such images out of the queries"
        )
    for side, labels in (("query", query), ("gallery", gallery)):
        if len(labels.camera) != len(labels.identity):
            raise UserError(
                f"{side}: {len(labels.identity)} identities but {len(labels.camera)} cameras; give one each per image"
            )
        if len(labels) == 0:
            raise UserError(f"the {side} is empty; check the protocol's mode and direction against the data set")


def _check(values: FloatArray, query: Labels, gallery: Labels, rule: str, cmc: str) -> None:
    check_labels(query, gallery, rule, cmc)
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
