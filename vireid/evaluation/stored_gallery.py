"""Accuracy of a gallery as it is stored: the same protocols and metrics, ranked by the storage's own scores.

Shapes: N images, D feature width, Q queries, G gallery images.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from vireid.core.errors import UserError
from vireid.core.types import FloatArray, ImageIndex, IntArray
from vireid.evaluation.compare import TrialMetrics
from vireid.evaluation.gallery import Codec, Gallery, best, fit_codec
from vireid.evaluation.metrics import Labels, rank_queries, require_matches
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.trials import Permutations, plan_trials

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Metrics of every query of every trial, and what a row takes."""

    trials: tuple[TrialMetrics, ...]
    nearest: tuple[IntArray, ...]  # of each trial, the ten nearest gallery images of every query (Q×10)
    row_bytes: float
    scanned_bytes: float

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the trials, as fractions."""
        per_trial = self.per_trial
        return {name: float(np.mean([values[name] for values in per_trial])) for name in per_trial[0]}

    @property
    def per_trial(self) -> list[dict[str, float]]:
        """Metrics of each trial."""
        return [trial.queries.aggregate() for trial in self.trials]

    def overlap(self, other: "StoredResult") -> float:
        """Mean share of the other's nearest images that are among the nearest here."""
        pairs = zip(self.nearest, other.nearest, strict=True)
        shares = [np.isin(t, o).mean() for ours, theirs in pairs for o, t in zip(ours, theirs, strict=True)]
        return float(np.mean(shares))


def evaluate_stored(
    features: FloatArray,
    index: ImageIndex,
    config: ProtocolConfig,
    codec: Codec,
    permutations: Permutations | None = None,
    *,
    listed: Collection[str] | None = None,
) -> StoredResult:
    """Rank the galleries of a protocol, stored as ``codec`` has it, for its queries, which stay in float32.

    Args:
        features: N×D, one row per image of ``index``, of any length.
        index: all images of the split, both modalities.
        config: a protocol that ranks by cosine, without re-ranking.
        codec: of the storage; fitted on training features.
        permutations: as ``evaluate`` takes them.
        listed: likewise.

    Raises:
        UserError: a protocol that ranks otherwise, features that are not one row per image, no query with a match.
    """
    if config.score != "cosine" or config.reranking.name != "none":
        raise UserError(
            f"{config.name}: stored galleries are searched by cosine and not re-ranked; name a protocol with "
            "normalise true and no re-ranking"
        )
    if len(features) != len(index):
        raise UserError(f"{len(features)} features of {len(index)} images of {index.root}; extract one row per image")
    labels, rule = Labels.of(index), config.rule
    trials, nearest, row, scanned = [], [], 0.0, 0.0
    for trial in plan_trials(config, index, permutations, listed):
        gallery = Gallery.of(codec, features[trial.gallery])
        scores = np.stack([gallery.scores(query) for query in features[trial.query]])
        query, images = labels[trial.query], labels[trial.gallery]
        ranked = rank_queries(scores, query, images, rule=rule, cmc=config.cmc)
        require_matches(ranked, query, images, rule)
        trials.append(TrialMetrics(query.identity, ranked))
        nearest.append(np.stack([best(line, NEIGHBOURS) for line in scores]))
        row, scanned = gallery.nbytes / gallery.rows, gallery.scanned_bytes / gallery.rows
    return StoredResult(tuple(trials), tuple(nearest), row, scanned)


def codec_of(name: str, training: FloatArray) -> Codec:
    """A storage's codec, fitted on training features (N×D) where it has anything to fit.

    Raises:
        UserError: too few training features, or fewer dimensions than it keeps.
    """
    try:
        return fit_codec(name, training.shape[1], training)
    except ValueError as error:
        raise UserError(f"{error}; leave it out with --storage") from error
