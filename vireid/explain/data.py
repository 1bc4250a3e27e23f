"""What a run's page shows, as numbers: people, cameras, hardest queries, and how similar images are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from vireid.core.seeding import generator
from vireid.core.types import FloatArray, ImageIndex, IntArray, Modality
from vireid.evaluation.features import rank_features
from vireid.evaluation.metrics import Labels, removed_images
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.scorers import inner, unit
from vireid.evaluation.trials import Trial

BINS = 200
BLOCK = 512  # rows compared at once
MAX_IMAGES = 3000  # per modality in the histograms: 9 million pairs tell a curve well enough
ALL = "all cameras"
PAIRS = {
    "visible with visible": (Modality.VISIBLE, Modality.VISIBLE),
    "infrared with infrared": (Modality.INFRARED, Modality.INFRARED),
    "infrared with visible": (Modality.INFRARED, Modality.VISIBLE),
}


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosine similarities of pairs of different images, counted in bins, of one combination of modalities."""

    edges: FloatArray  # BINS + 1, from −1 to 1
    same: IntArray  # pairs of one identity; within a modality from two cameras, where it has several
    different: IntArray  # pairs of different identities
    same_camera: IntArray  # pairs of one identity and camera within a modality: near copies, counted apart

    @property
    def separation(self) -> float:
        """Chance that a pair of the same identity is more similar than one of different identities; ties count half."""
        below = np.cumsum(self.different) - 0.5 * self.different
        pairs = float(self.same.sum()) * float(self.different.sum())
        return float((self.same * below).sum() / pairs) if pairs else float("nan")

    def mean(self, counts: IntArray) -> float:
        """Mean similarity of the counted pairs (of bin centres)."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        return float((counts * centres).sum() / counts.sum()) if counts.sum() else float("nan")


def identity_table(per_query: pd.DataFrame) -> pd.DataFrame:
    """One row per identity, hardest first: identity, queries, mAP, r1, mINP; over all trials and valid queries."""
    valid = per_query[per_query["valid"]]
    people = valid.assign(r1=valid["first_hit_rank"] <= 1).groupby("identity", as_index=False)
    table = people.agg(queries=("query", "nunique"), mAP=("ap", "mean"), r1=("r1", "mean"), mINP=("inp", "mean"))
    return table.sort_values(["mAP", "identity"], ignore_index=True)


def camera_table(
    features: FloatArray, index: ImageIndex, trial: Trial, config: ProtocolConfig, per_query: pd.DataFrame
) -> pd.DataFrame:
    """How well each query camera finds its people among the images of each gallery camera alone.

    Rows: query_camera, gallery_camera (a number, or ``ALL`` for the whole gallery over all trials), queries (valid
    ones), r1, mAP. Single gallery cameras are searched in one trial, by the plain similarity.
    """
    rows, labels = [], Labels.of(index)
    for camera, part in per_query[per_query["valid"]].groupby("camera"):
        hits = part["first_hit_rank"] <= 1
        rows.append((camera, ALL, part["query"].nunique(), hits.mean(), part["ap"].mean()))
        queries = trial.query[index.camera[trial.query] == camera]
        for other in np.unique(index.camera[trial.gallery]).tolist():
            gallery = trial.gallery[index.camera[trial.gallery] == other]
            ranked = rank_features(
                features[queries],
                features[gallery],
                labels[queries],
                labels[gallery],
                rule=config.rule,
                cmc=config.cmc,
                normalise=config.normalise,
            )
            if ranked.valid.any():
                values = ranked.aggregate()
                rows.append((camera, str(other), int(ranked.valid.sum()), values["r1"], values["mAP"]))
    return pd.DataFrame(rows, columns=["query_camera", "gallery_camera", "queries", "r1", "mAP"])


def hardest_queries(per_query: pd.DataFrame, count: int, per_identity: int) -> pd.DataFrame:
    """Valid queries of the first trial with the lowest AP, at most ``per_identity`` of one person."""
    first = per_query[(per_query["trial"] == 0) & per_query["valid"]]
    ordered = first.sort_values(["ap", "query"], kind="stable")
    return ordered.groupby("identity", sort=False).head(per_identity).head(count).reset_index(drop=True)


def easiest_queries(per_query: pd.DataFrame, count: int, per_identity: int) -> pd.DataFrame:
    """Valid queries of the first trial with the highest AP, at most ``per_identity`` of one person."""
    first = per_query[(per_query["trial"] == 0) & per_query["valid"]]
    ordered = first.sort_values(["ap", "query"], ascending=[False, True], kind="stable")
    return ordered.groupby("identity", sort=False).head(per_identity).head(count).reset_index(drop=True)


def best_matches(
    features: FloatArray, index: ImageIndex, trial: Trial, config: ProtocolConfig, queries: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Of each query row: its most similar true match in the gallery (row) and that image's rank among all images.

    The rank counts every image that the rule leaves (plain), by the similarity before any re-ranking.
    """
    matches = {}
    rows, labels = unit_rows(features, config.normalise), Labels.of(index)
    gallery = labels[trial.gallery]
    for query in queries:
        distance = ((rows[trial.gallery] - rows[query]) ** 2).sum(1)
        removed = removed_images(labels[[query]], gallery, config.rule)
        if removed is not None:
            distance[removed[:, 0]] = np.inf
        best = int(np.where(gallery.identity == index.identity[query], distance, np.inf).argmin())
        ahead = (distance < distance[best]).sum() + (distance[:best] == distance[best]).sum()
        matches[query] = (int(trial.gallery[best]), int(ahead) + 1)
    return matches


def unit_rows(features: FloatArray, normalise: bool) -> FloatArray:
    """Rows as the protocol compares them."""
    tensor = torch.from_numpy(np.asarray(features))
    return np.asarray((unit(tensor) if normalise else tensor).numpy())


def similarities(features: FloatArray, index: ImageIndex, key: str) -> dict[str, Similarities]:
    """Histograms of cosine similarity within and across modalities, of at most ``MAX_IMAGES`` images of each.

    Args:
        features: one row per image.
        index: the images.
        key: decides which images are drawn where there are more.
    """
    rows = torch.from_numpy(unit_rows(features, True))
    drawn = {}
    for modality in Modality:
        rows_of = np.flatnonzero(index.modality == modality)
        chosen = generator(key, "similarity pairs", int(modality)).permutation(rows_of)[:MAX_IMAGES]
        drawn[modality] = np.sort(chosen)
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    histograms = {}
    for name, (first, second) in PAIRS.items():
        counts = np.zeros((3, BINS), dtype=np.int64)
        others = drawn[second]
        apart = first == second and len(np.unique(index.camera[others])) > 1
        for start in range(0, len(drawn[first]), BLOCK):
            block = drawn[first][start : start + BLOCK]
            values = inner(rows[block], rows[others]).numpy()
            bins = np.clip(((values + 1.0) * (BINS / 2)).astype(np.int64), 0, BINS - 1)
            pair = block[:, None] < others if first == second else np.ones(values.shape, dtype=np.bool_)
            same = pair & (index.identity[block][:, None] == index.identity[others])
            near = same & (apart & (index.camera[block][:, None] == index.camera[others]))
            for row, mask in enumerate((same & ~near, pair & ~same, near)):
                counts[row] += np.bincount(bins[mask], minlength=BINS)
        histograms[name] = Similarities(edges, *counts)
    return histograms


def histogram_table(pairs: Mapping[str, Similarities]) -> pd.DataFrame:
    """The histograms as rows: pairs, from and to (cosine), same_person, different_people, same_person_and_camera."""
    columns = {"same_person": "same", "different_people": "different", "same_person_and_camera": "same_camera"}
    return pd.concat(
        pd.DataFrame(
            {"pairs": name, "from": similar.edges[:-1], "to": similar.edges[1:]}
            | {column: getattr(similar, field) for column, field in columns.items()}
        )
        for name, similar in pairs.items()
    )
