from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from vireid.core.errors import UserError
from vireid.evaluation import faiss_search
from vireid.evaluation.faiss_search import FaissDistances, FaissIndex, recall
from vireid.evaluation.neighbours import FeatureDistances, nearest
from vireid.evaluation.protocols import KReciprocal, ProtocolConfig
from vireid.evaluation.reranking import rerank_features


def features(count=600, width=16):
    random = np.random.default_rng(1)
    centre = random.normal(size=(count // 10, width))[random.integers(0, count // 10, count)]
    rows = centre + 0.5 * random.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_without_faiss_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = torch.from_numpy(features(60))
    with pytest.raises(UserError, match=r"make install EXTRAS=faiss.*reranking\.search=exact"):
        rerank_features(rows[:40], rows[40:], KReciprocal(name="zhong", search="faiss-ivf"))


def test_recall_counts_what_is_found_in_any_order():
    assert recall(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 2, 9], [6, 4, 5]])) == pytest.approx(5 / 6)


@pytest.mark.parametrize(("kind", "least"), [("exact", 1.0), ("ivf", 0.9), ("ivfpq", 0.9)])
def test_search_finds_neighbours_with_their_distances(kind, least):
    pytest.importorskip("faiss")
    rows = features()
    distances = ((rows[:50, None].astype(np.float64) - rows[None]) ** 2).sum(-1)
    found, squared = FaissIndex(rows, kind).search(rows[:50], 7)
    assert recall(found, nearest(distances, 7)) >= least
    np.testing.assert_allclose(squared, np.take_along_axis(distances, found, axis=1), atol=1e-5)
    assert (np.diff(squared, axis=1) >= 0).all()


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_exact_kind_reranks_as_the_exact_search_does(variant):
    pytest.importorskip("faiss")
    rows = torch.from_numpy(features(200))
    query, gallery = rows[:120], rows[120:]
    expected, found = (
        np.concatenate(
            [block for _, block in rerank_features(query, gallery, KReciprocal(name=variant, search=search))]
        )
        for search in ("exact", "faiss-exact")
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_approximate_kinds_say_what_they_miss(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(faiss_search, "FAR_SAMPLE", 300)
    rows = torch.from_numpy(features())
    source = FaissDistances(rows[:400], rows[400:], "ivf")
    found = source.neighbours(21, queries_only=False)
    exact = FeatureDistances(rows[:400], rows[400:])
    assert source.recall == pytest.approx(recall(found, exact.neighbours(21, queries_only=False)))
    assert 0.5 < source.recall <= 1.0
    np.testing.assert_array_equal(found[:, 0], np.arange(600))
    assert (source.farthest() <= exact.farthest() + 1e-5).all()
    np.testing.assert_allclose(source.farthest(), exact.farthest(), rtol=0.15)


def test_cells_that_hold_too_few_leave_the_image_itself():
    found, distances = faiss_search._ordered(
        np.array([[5, 3, -1], [7, 6, -1], [9, 8, 3]]), np.array([[0.0, 0.2, np.inf]] * 3, dtype=np.float32), 5, 7
    )
    assert found.tolist() == [[5, 3, 5], [6, 7, 6], [9, 8, 3]]
    assert distances[0].tolist() == [0.0, pytest.approx(0.2), 0.0]


def test_cards_name_the_search(index, permutations):
    pytest.importorskip("faiss")
    from vireid.evaluation.evaluate import evaluate

    reranking = {"name": "zhong", "k1": 8, "k2": 3}
    rows = np.random.default_rng(0).normal(size=(len(index), 8)).astype(np.float32)
    exact, searched = (
        evaluate(
            rows, index, ProtocolConfig(name="sysu/official", trials=1, reranking={**reranking, **more}), permutations
        )
        for more in ({}, {"search": "faiss-exact"})
    )
    assert "search" not in exact.card["reranking"]
    assert (searched.card["reranking"]["search"], searched.card["reranking"]["recall"]) == ("faiss-exact", 1.0)
    assert searched.metrics == pytest.approx(exact.metrics, abs=1e-6)
