"""One large evaluation in a process of its own, so that its peak memory is its own; prints one JSON object.

``scale.py rank ITEMS WIDTH`` and ``scale.py rerank ITEMS WIDTH`` take half of the items as queries and half as gallery;
``scale.py large QUERIES ITEMS WIDTH`` ranks a large gallery, and multiplies it alone; ``scale.py neighbours KIND ITEMS
WIDTH`` builds a faiss index and measures its recall.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

from vireid.core.seeding import generator
from vireid.evaluation.features import rank_features
from vireid.evaluation.metrics import Labels
from vireid.evaluation.protocols import KReciprocal

IMAGES_PER_IDENTITY = 10
NOISE = 4.0


def clustered(count, width, noise_level=NOISE, decay=0.0):
    """Features and identities of ``count`` images, written block by block.

    The deviation of dimension d falls as d to the power of −``decay``, as the spectrum of learned features does.
    """
    identity = np.arange(count) // IMAGES_PER_IDENTITY
    scale = (np.arange(1, width + 1) ** -decay).astype(np.float32)
    centres = generator("scale", "centres", width).normal(size=(identity[-1] + 1, width)).astype(np.float32) * scale
    features = np.empty((count, width), dtype=np.float32)
    for start in range(0, count, 10_000):
        rows = slice(start, min(start + 10_000, count))
        noise = generator("scale", "noise", start).standard_normal((rows.stop - start, width), dtype=np.float32)
        features[rows] = centres[identity[rows]] + noise_level * scale * noise
    return features, identity


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rank(items, width, reranking):
    """Every second image of an identity is a query."""
    features, identity = clustered(items, width)
    labels = Labels(identity, np.ones_like(identity))
    sides = features[::2].copy(), features[1::2].copy(), labels[::2], labels[1::2]
    del features
    before, start = peak_bytes(), time.perf_counter()
    found = rank_features(*sides, cmc="plain", reranking=reranking)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_bytes": peak_bytes(), "before_bytes": before, **found.aggregate()}


def large(queries, items, width):
    """A gallery that is ranked block by block, and its products with the queries in blocks of the same size alone."""
    import torch

    from vireid.evaluation.scorers import inner, unit
    from vireid.evaluation.streamed import PRODUCT_ROWS

    gallery, identity = clustered(items, width)
    labels, step = Labels(identity, np.ones_like(identity)), items // queries
    query, query_labels = gallery[::step] + 0.5, labels[::step]
    before, times = peak_bytes(), [time.perf_counter()]
    found = rank_features(query, gallery, query_labels, labels, cmc="plain")
    times.append(time.perf_counter())
    peak, prepared = peak_bytes(), unit(torch.from_numpy(query))
    block = unit(torch.from_numpy(gallery[:PRODUCT_ROWS]))
    inner(prepared, block)
    start = time.perf_counter()
    for _ in range(items // PRODUCT_ROWS):
        inner(prepared, block)
    products = time.perf_counter() - start
    seconds = times[1] - times[0]
    return {"seconds": seconds, "products": products, "peak_bytes": peak, "before_bytes": before, **found.aggregate()}


def neighbours(kind, items, width):
    """Build an index over all items and search a thousand; recall of 21 neighbours against an exact search.

    Approximate search lives on structure, and isotropic noise has none: about 18 dimensions are effective here.
    """
    import torch

    from vireid.evaluation.faiss_search import FaissIndex, recall
    from vireid.evaluation.neighbours import nearest
    from vireid.evaluation.scorers import squared_distances, unit

    features = unit(torch.from_numpy(clustered(items, width, noise_level=1.0, decay=0.5)[0]))
    rows = generator("scale", "sample").permutation(items)[:1000]
    query = features[rows]
    times = [time.perf_counter()]
    index = FaissIndex(features, kind)
    times.append(time.perf_counter())
    found, _ = index.search(query, 21)
    times.append(time.perf_counter())
    exact = nearest(squared_distances(query, features).numpy(), 21)
    times.append(time.perf_counter())
    build, search, ours = np.diff(times)
    return {
        "build_seconds": build,
        "search_seconds": search,
        "exact_seconds": ours,
        "recall": recall(found, exact),
        "peak_bytes": peak_bytes(),
    }


def main(task, *arguments):
    if task == "neighbours":
        return neighbours(arguments[0], *map(int, arguments[1:]))
    if task == "large":
        return large(*map(int, arguments))
    reranking = KReciprocal(name="zhong") if task == "rerank" else None
    return rank(*map(int, arguments), reranking)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
