"""A map of embeddings in two dimensions: t-SNE (van der Maaten & Hinton, JMLR 2008) as scikit-learn computes it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vireid.core.seeding import generator
from vireid.core.types import FloatArray, ImageIndex, IntArray, Modality

IDENTITIES = 10  # as many as colours and numbers tell apart
IMAGES = 600
PERPLEXITY = 30.0
SEED = 0
FEWEST = 5  # images below which neighbourhoods mean nothing


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Where t-SNE puts the images of a few identities."""

    table: pd.DataFrame  # x, y, identity, modality, camera, image (path)
    perplexity: float
    seed: int
    divergence: float  # Kullback-Leibler, of the map from the embedding


def embedding_map(features: FloatArray, index: ImageIndex) -> EmbeddingMap | None:
    """Map images of at most ``IDENTITIES`` identities; None where there are too few.

    Which people and images are drawn depends on the images alone, so that maps of two fits show the same.

    Args:
        features: one row per image, as the protocol compares them.
        index: the images.
    """
    from sklearn.manifold import TSNE

    rows = map_rows(index)
    if len(rows) < FEWEST:
        return None
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=SEED)
    places = tsne.fit_transform(np.asarray(features[rows], dtype=np.float64))
    table = pd.DataFrame(
        {
            "x": places[:, 0],
            "y": places[:, 1],
            "identity": index.identity[rows],
            "modality": [Modality(value).name.lower() for value in index.modality[rows]],
            "camera": index.camera[rows],
            "image": [index.paths[row] for row in rows],
        }
    )
    return EmbeddingMap(table, perplexity, SEED, float(tsne.kl_divergence_))


def map_rows(index: ImageIndex) -> IntArray:
    """Rows of the images that a map shows: of identities in both modalities, the same share of each modality."""
    both = np.intersect1d(*(index.identity[index.modality == modality] for modality in Modality))
    people = generator("embedding map").permutation(both)[:IDENTITIES]
    most = max(1, IMAGES // (2 * max(1, len(people))))
    rows: list[int] = []
    for identity in people.tolist():
        for modality in Modality:
            own = np.flatnonzero((index.identity == identity) & (index.modality == modality))
            rows += generator("embedding map", identity, int(modality)).permutation(own)[:most].tolist()
    return np.array(sorted(rows), dtype=np.int64)
