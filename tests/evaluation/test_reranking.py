from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vireid.core.errors import UserError
from vireid.evaluation import neighbours, reranking
from vireid.evaluation.neighbours import QueryDistances, nearest
from vireid.evaluation.protocols import KReciprocal
from vireid.evaluation.reranking import rerank, rerank_features
from vireid.evaluation.scorers import squared_distances

from . import naive

GOLDEN = Path(__file__).parents[1] / "golden"


def reranked(query, gallery, **parameters):
    q, g = torch.as_tensor(query), torch.as_tensor(gallery)
    distances = squared_distances(q, q), squared_distances(q, g), squared_distances(g, g)
    return rerank(*(d.numpy() for d in distances), KReciprocal(**parameters))


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_golden(case, variant):
    data = np.load(GOLDEN / f"case_{case}.npz")
    found = reranked(data["query"], data["gallery"], name=variant)
    np.testing.assert_allclose(found, data[f"reranked_{variant.replace('-', '_')}"], atol=3e-3)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 1, 0.0), (4, 3, 1.0), (5, 2, 0.5)])
def test_equals_a_naive_loop(variant, k1, k2, weight):
    random = np.random.default_rng(k1)
    features = random.normal(size=(55, 6)) + 2 * random.normal(size=(9, 6))[random.integers(0, 9, 55)]
    expected = naive.rerank(features, 30, variant, k1, k2, weight)
    found = reranked(features[:30], features[30:], name=variant, k1=k1, k2=k2, lambda_value=weight)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (7, 1), (4, 3)])
def test_features_in_blocks_equal_a_naive_loop(monkeypatch, variant, k1, k2):
    for limit, cells in (("BLOCK_CELLS", 300), ("PAIR_CELLS", 30)):
        monkeypatch.setattr(neighbours, limit, cells)
    for limit, cells in (("EXPANDED_ENTRIES", 100), ("OUTPUT_CELLS", 60), ("ENCODED_ROWS", 7)):
        monkeypatch.setattr(reranking, limit, cells)
    random = np.random.default_rng(k1)
    features = random.normal(size=(70, 6)) + 2 * random.normal(size=(9, 6))[random.integers(0, 9, 70)]
    features[11] = features[3]  # an exact duplicate: a tie with itself
    query, gallery = torch.from_numpy(features[:40]), torch.from_numpy(features[40:])
    blocks = list(rerank_features(query, gallery, KReciprocal(name=variant, k1=k1, k2=k2)))
    assert len(blocks) > 10
    assert [rows.start for rows, _ in blocks] == [0, *(rows.stop for rows, _ in blocks[:-1])]
    found = np.concatenate([block for _, block in blocks])
    np.testing.assert_allclose(found, naive.rerank(features, 40, variant, k1, k2, 0.3), atol=1e-9)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_trials_that_share_query_distances_equal_single_ones(variant):
    data = np.load(GOLDEN / "case_a.npz")
    query, gallery = (torch.from_numpy(data[side].astype(np.float64)) for side in ("query", "gallery"))
    config = KReciprocal(name=variant)
    shared = QueryDistances(squared_distances(query, query).numpy())
    for part in (slice(0, 40), slice(20, 70)):
        chosen = gallery[part]
        across, within = squared_distances(query, chosen).numpy(), squared_distances(chosen, chosen).numpy()
        alone = reranked(query.numpy(), chosen.numpy(), name=variant)
        np.testing.assert_allclose(rerank(shared, across, within, config), alone, atol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    data = np.load(GOLDEN / "case_a.npz")
    whole = reranked(data["query"], data["gallery"], name="zhong")
    monkeypatch.setattr(reranking, "EXPANDED_ENTRIES", 50)
    np.testing.assert_array_equal(reranked(data["query"], data["gallery"], name="zhong"), whole)


def test_nearest_breaks_ties_by_column():
    random = np.random.default_rng(0)
    distance = random.integers(0, 4, (40, 30)).astype(np.float32)
    wide = random.integers(0, 90, (7, 3001)).astype(np.float32)
    for values, ks in ((distance, (1, 5, 29, 30)), (wide, (1, 21, 40, 3001))):
        for k in ks:
            np.testing.assert_array_equal(nearest(values, k), np.argsort(values, axis=1, kind="stable")[:, :k])


def test_too_few_images_for_k1_is_named():
    features = np.random.default_rng(0).normal(size=(10, 4))
    with pytest.raises(UserError, match="k1=20"):
        reranked(features[:5], features[5:], name="query-only")
