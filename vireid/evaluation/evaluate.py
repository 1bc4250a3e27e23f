"""From features to metrics under a protocol."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vireid.core.errors import UserError
from vireid.core.records import MetricInterval
from vireid.core.types import FloatArray, ImageIndex, IntArray
from vireid.evaluation.compare import DRAWS, TrialMetrics, identity_intervals
from vireid.evaluation.metrics import (
    METRICS,
    Labels,
    QueryMetrics,
    filtered_counts,
    metric_units,
    rank_by_image,
    require_matches,
    top_matches,
)
from vireid.evaluation.neighbours import QueryDistances
from vireid.evaluation.protocols import KReciprocal, ProtocolConfig, Split, card
from vireid.evaluation.reranking import feature_distances, rerank, rerank_blocks
from vireid.evaluation.scorers import SCORERS, distances_within, squared_distances
from vireid.evaluation.trials import Permutations, Trial, plan_trials
from vireid.statistics.bootstrap import LEVEL

TOP_COLUMNS = ("query", "rank", "gallery", "correct")
PRODUCT_CELLS = 4_000_000  # scores that one product gives: 16 MB in single precision
SHARED_CELLS = 64_000_000  # distances that the trials of a re-ranked protocol may share in memory

Scores = tuple[int, IntArray, FloatArray]  # trial, positions among its queries (B), their similarities by image (G×B)


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Metrics under one protocol.

    ``metrics`` are means over trials of ``per_trial``, as fractions, and ``spread`` the standard deviations over trials
    (empty for one trial). ``intervals`` resample identities: test sampling only (empty for one identity). ``per_query``
    has one row per trial and query: trial, query (path), identity, camera, ap, inp, first_hit_rank, valid, candidates
    (gallery images that the rule leaves), matches (of the query's identity among them). ``top`` has the best gallery
    images of each query in the first trial: query, rank, gallery (path), correct.
    """

    metrics: dict[str, float]
    metric_units: dict[str, str]
    per_trial: list[dict[str, float]]
    spread: dict[str, float]
    intervals: dict[str, MetricInterval]
    per_query: pd.DataFrame
    top: pd.DataFrame
    card: dict[str, Any]


def evaluate(
    features: FloatArray | Tensor,
    index: ImageIndex,
    config: ProtocolConfig,
    permutations: Permutations | None = None,
    *,
    listed: Collection[str] | None = None,
    split: Split = "test",
    selection: str = "last epoch",
    test_time_augmentation: str = "none",
    text: str = "none",
    top_k: int = 10,
) -> EvaluationResult:
    """Evaluate features (N×D, one row per image of ``index``) under a protocol.

    Args:
        features: raw features of any float type on any device, where products are computed; normalised here if the
            protocol says so.
        index: all images of the split, both modalities.
        config: the protocol.
        permutations: ``(camera, identity) -> trials × n`` image numbers; for protocols whose ``sampling`` they are.
        listed: file names that the data set's test lists name, for ``llcm/full``; None where all images count.
        split: goes on the card.
        selection: how the weights were chosen; goes on the card.
        test_time_augmentation: what the features average over; goes on the card.
        text: where text in the features comes from; goes on the card.
        top_k: gallery images listed per query of the first trial; 0 lists none.

    Raises:
        UserError: features that are not finite, not one row per image, or cannot be compared (see
            ``Scorer.unusable``); see also ``plan_trials``.
    """
    rows = _checked(features, index)
    labels = Labels.of(index)
    trials = plan_trials(config, index, permutations, listed)
    _require_comparable(rows, index, trials, config)
    measured: list[list[QueryMetrics]] = [[] for _ in trials]
    positions: list[list[IntArray]] = [[] for _ in trials]
    recalls: list[float] = []
    top = []
    for number, at, by_image in _scores(rows, trials, config, recalls):
        trial, rule = trials[number], config.rule
        query, gallery = labels[trial.query[at]], labels[trial.gallery]
        positions[number].append(at)
        if number == 0 and top_k > 0:
            best = top_matches(by_image.T, query, gallery, top_k, rule=rule)
            top.append(_top_frame(index, trial.query[at], trial.gallery, best))
        measured[number].append(rank_by_image(by_image, query, gallery, rule=rule, cmc=config.cmc))
    per_query = [
        QueryMetrics.concatenate(pieces)[np.argsort(np.concatenate(at))]
        for pieces, at in zip(measured, positions, strict=True)
    ]
    for trial, metrics in zip(trials, per_query, strict=True):
        require_matches(metrics, labels[trial.query], labels[trial.gallery], config.rule)
    per_trial = [metrics.aggregate() for metrics in per_query]
    sizes = {
        "queries": len(trials[0].query),
        "valid_queries": int(per_query[0].valid.sum()),
        "gallery": len(trials[0].gallery),
    }
    named = card(config, split=split, selection=selection, test_time_augmentation=test_time_augmentation, text=text)
    if recalls:
        named["reranking"]["recall"] = round(float(np.mean(recalls)), 4)
    return EvaluationResult(
        metrics={name: float(np.mean([values[name] for values in per_trial])) for name in METRICS},
        metric_units=metric_units(),
        per_trial=per_trial,
        spread=_spread(per_trial),
        intervals=_intervals(labels, trials, per_query),
        per_query=_query_frame(index, trials, per_query, config),
        top=pd.concat(top, ignore_index=True) if top else pd.DataFrame(columns=list(TOP_COLUMNS)),
        card=named | sizes,
    )


def _checked(features: FloatArray | Tensor, index: ImageIndex) -> Tensor:
    rows = features.detach() if isinstance(features, Tensor) else torch.from_numpy(np.asarray(features))
    if rows.ndim != 2 or len(rows) != len(index):
        raise UserError(
            f"features have shape {tuple(rows.shape)}, but {index.root} lists {len(index)} images; "
            "extract one row per image, in index order"
        )
    suspects = (~torch.isfinite(rows.sum(dim=1))).nonzero()[:, 0]  # one pass; a finite row may overflow its sum
    bad = suspects[~torch.isfinite(rows[suspects]).all(dim=1)]
    if len(bad):
        raise UserError(
            f"features of {len(bad)} images are not finite, the first of them {index.paths[int(bad[0])]}; "
            "check the model's weights or extract in fp32"
        )
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()


def _require_comparable(rows: Tensor, index: ImageIndex, trials: list[Trial], config: ProtocolConfig) -> None:
    scorer = SCORERS[config.score]
    needed, _ = _union([part for trial in trials for part in (trial.query, trial.gallery)])
    bad = needed[scorer.unusable(rows[needed]).cpu().numpy()]
    if len(bad):
        raise UserError(
            f"features of {len(bad)} of {len(needed)} images are unusable, the first of them of {index.paths[bad[0]]}: "
            f"{scorer.fault}"
        )


def _scores(rows: Tensor, trials: list[Trial], config: ProtocolConfig, recalls: list[float]) -> Iterator[Scores]:
    """Scores block by block; ``recalls`` receives the share of true neighbours that faiss finds in each trial."""
    if isinstance(config.reranking, KReciprocal):
        return _reranked_scores(rows, trials, config, config.reranking, recalls)
    return _plain_scores(rows, trials, config)


def _plain_scores(rows: Tensor, trials: list[Trial], config: ProtocolConfig) -> Iterator[Scores]:
    """All trials share one product of the queries of any with the gallery images of any, block by block."""
    queries, query_at = _union([trial.query for trial in trials])
    images, image_at = _union([trial.gallery for trial in trials])
    scorer = SCORERS[config.score]
    gallery = scorer.prepare(rows[images])
    step = max(1, PRODUCT_CELLS // len(images))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        by_image = scorer.compare(gallery, scorer.prepare(rows[block])).cpu().numpy()
        for number in range(len(trials)):
            inside = (query_at[number] >= start) & (query_at[number] < start + len(block))
            at = np.flatnonzero(inside)
            scores = by_image[image_at[number]]
            columns = query_at[number][at] - start
            if len(columns) != len(block) or (np.diff(columns) != 1).any():
                scores = scores[:, columns]
            if len(at):
                yield number, at, np.ascontiguousarray(scores)


def _reranked_scores(
    rows: Tensor, trials: list[Trial], config: ProtocolConfig, reranking: KReciprocal, recalls: list[float]
) -> Iterator[Scores]:
    """Distances among queries, and from them to any gallery image, are shared by trials where memory allows."""
    query = trials[0].query
    images, image_at = _union([trial.gallery for trial in trials])
    prepare = SCORERS[config.score].prepare
    shared = reranking.search == "exact" and all(np.array_equal(trial.query, query) for trial in trials)
    if not shared or len(query) * (len(query) + len(images)) > SHARED_CELLS:
        for number, trial in enumerate(trials):
            source = feature_distances(prepare(rows[trial.query]), prepare(rows[trial.gallery]), reranking)
            for block, distances in rerank_blocks(source, reranking):
                yield number, np.arange(block.start, block.stop), np.negative(distances.T, order="C")
            if reranking.search != "exact":
                recalls.append(source.recall)
        return
    queries, gallery = prepare(rows[query]), prepare(rows[images])
    among = QueryDistances(distances_within(queries).cpu().numpy())
    across = squared_distances(queries, gallery).cpu().numpy()
    for number, at in enumerate(image_at):
        within = distances_within(gallery[at]).cpu().numpy()
        distances = rerank(among, np.take(across, at, axis=1), within, reranking)
        yield number, np.arange(len(query)), np.negative(distances.T, order="C")


def _union(row_sets: list[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """Distinct rows of all parts, ascending, and where each part's rows are among them."""
    union = np.unique(np.concatenate(row_sets))
    return union, [np.searchsorted(union, part) for part in row_sets]


def _spread(per_trial: list[dict[str, float]]) -> dict[str, float]:
    if len(per_trial) < 2:
        return {}
    return {name: float(np.std([values[name] for values in per_trial], ddof=1)) for name in METRICS}


def _intervals(labels: Labels, trials: list[Trial], per_query: list[QueryMetrics]) -> dict[str, MetricInterval]:
    identities = [labels.identity[trial.query] for trial in trials]
    valid = [identity[queries.valid] for identity, queries in zip(identities, per_query, strict=True)]
    if len(np.unique(np.concatenate(valid))) < 2:
        return {}
    by_metric = identity_intervals([TrialMetrics(*pair) for pair in zip(identities, per_query, strict=True)])
    return {
        name: MetricInterval(low=interval.low, high=interval.high, level=LEVEL, resamples=DRAWS)
        for name, interval in by_metric.items()
    }


def _query_frame(
    index: ImageIndex, trials: list[Trial], metrics: list[QueryMetrics], config: ProtocolConfig
) -> pd.DataFrame:
    labels, rule = Labels.of(index), config.rule
    counts = [filtered_counts(labels[trial.query], labels[trial.gallery], rule) for trial in trials]
    queries = np.concatenate([trial.query for trial in trials])
    joined = QueryMetrics.concatenate(metrics)
    return pd.DataFrame(
        {
            "trial": np.repeat(np.arange(len(trials)), [len(trial.query) for trial in trials]),
            "query": np.array(index.paths, dtype=object)[queries],
            "identity": index.identity[queries],
            "camera": index.camera[queries],
            "ap": joined.ap,
            "inp": joined.inp,
            "first_hit_rank": joined.first_hit_rank,
            "valid": joined.valid,
            "candidates": np.concatenate([candidates for candidates, _ in counts]),
            "matches": np.concatenate([matches for _, matches in counts]),
        }
    )


def _top_frame(index: ImageIndex, queries: IntArray, gallery: IntArray, best: IntArray) -> pd.DataFrame:
    paths = np.array(index.paths, dtype=object)
    row, rank = np.nonzero(best >= 0)
    query, match = queries[row], gallery[best[row, rank]]
    return pd.DataFrame(
        {
            "query": paths[query],
            "rank": rank + 1,
            "gallery": paths[match],
            "correct": index.identity[query] == index.identity[match],
        },
        columns=list(TOP_COLUMNS),
    )
