from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.errors import UserError
from vireid.evaluation import features, ranks, scorers
from vireid.evaluation import streamed as stream
from vireid.evaluation.features import rank_features
from vireid.evaluation.metrics import CAMERA_RULES, Labels, rank_queries
from vireid.evaluation.protocols import KReciprocal
from vireid.evaluation.scorers import cosine

from . import naive


def unit(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


@st.composite
def problems(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images, identities = draw(st.integers(1, 9)), draw(st.integers(1, 60)), draw(st.integers(1, 8))
    # Powers of two along one axis each: normalised rows and products are exact, so that ties are ties in any precision.
    width = draw(st.sampled_from([2, 5]))

    def rows(n):
        return np.eye(width)[random.integers(0, width, n)] * 2.0 ** random.integers(-2, 3, (n, 1))

    def labels(n):
        return Labels(random.integers(0, identities, n), random.integers(1, 7, n))

    return rows(queries), rows(images), labels(queries), labels(images)


@settings(max_examples=120, deadline=None)
@given(
    problem=problems(),
    rule=st.sampled_from(
        sorted(rule for rule in CAMERA_RULES if not rule.endswith("_other"))
    ),  # those need modalities: test_mixed
    cmc=st.sampled_from(["dedup", "plain"]),
    normalise=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    blocks=st.sampled_from([(1, 1), (200, 12), (1 << 30, 1 << 24)]),
    streamed=st.sampled_from([None, (1, 1, 1), (3, 2, 40), (4, 64, 1 << 20)]),
    sorted_from=st.sampled_from([1, 16]),
)
def test_equals_a_naive_loop_with_ties(problem, rule, cmc, normalise, dtype, blocks, streamed, sorted_from):
    query, gallery, query_labels, gallery_labels = problem
    a, b = (unit(query), unit(gallery)) if normalise else (query, gallery)
    distances = ((a[:, None] - b[None]) ** 2).sum(-1)
    expected = naive.rank(-distances, query_labels, gallery_labels, rule, cmc)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "READ_CELLS", blocks[1])
        patch.setattr(ranks, "SORTED_FROM", sorted_from)
        patch.setattr(stream, "SORTED_FROM", sorted_from)
        if streamed is not None:
            patch.setattr(features, "STREAMED_FROM", streamed[0])
            for name, value in zip(("PRODUCT_ROWS", "BLOCK_PRODUCTS", "BLOCK_BYTES"), streamed, strict=True):
                patch.setattr(stream, name, value)
        found = rank_features(
            query.astype(dtype),
            gallery.astype(dtype),
            query_labels,
            gallery_labels,
            rule=rule,
            cmc=cmc,
            normalise=normalise,
            score_bytes=blocks[0],
        )
    for q, e in enumerate(expected):
        assert bool(found.valid[q]) == (e is not None)
        if e is not None:
            assert (found.ap[q], found.inp[q]) == pytest.approx(e[:2], abs=1e-9)
            assert found.first_hit_rank[q] == e[2]


def random_problem(queries=20, images=90, width=16):
    random = np.random.default_rng(3)
    identity = random.integers(0, 12, queries + images)
    features = random.normal(size=(13, width))[identity] + 1.2 * random.normal(size=(queries + images, width))
    labels = Labels(identity, random.integers(1, 7, queries + images))
    return features[:queries], features[queries:], labels[:queries], labels[queries:]


def test_equals_the_full_matrix_and_reads_mapped_files(tmp_path):
    query, gallery, query_labels, gallery_labels = random_problem()
    expected = rank_queries(unit(query) @ unit(gallery).T, query_labels, gallery_labels, rule="sysu")
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    for images in (gallery, mapped, torch.from_numpy(gallery)):
        found = rank_features(query, images, query_labels, gallery_labels, rule="sysu", score_bytes=5000)
        np.testing.assert_allclose(found.ap, expected.ap, atol=1e-12)
        np.testing.assert_array_equal(found.first_hit_rank, expected.first_hit_rank)


@pytest.fixture
def small_products(monkeypatch):
    """Galleries of a few images are streamed; returns whether each pass had an answer."""
    answered = []

    def seen(*args, **kwargs):
        found = stream.rank_streamed(*args, **kwargs)
        answered.append(found is not None)
        return found

    monkeypatch.setattr(features, "STREAMED_FROM", 8)
    monkeypatch.setattr(features, "rank_streamed", seen)
    monkeypatch.setattr(stream, "PRODUCT_ROWS", 8)
    monkeypatch.setattr(stream, "BLOCK_PRODUCTS", 2)
    return answered


@pytest.mark.parametrize("cmc", ["dedup", "plain"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gallery_in_one_pass_ranks_as_the_full_matrix(small_products, dtype, cmc):
    random = np.random.default_rng(0)
    query, gallery, query_labels, gallery_labels = random_problem(40, 300, 64)
    gallery[200:] = gallery[random.integers(0, 200, 100)]  # what lies twice in the gallery ties, whoever it is
    gallery_labels = Labels(
        gallery_labels.identity - 2 * (random.random(300) < 0.1) * 100, gallery_labels.camera
    )  # junk
    given = query.astype(dtype), gallery.astype(dtype), query_labels, gallery_labels
    found = rank_features(*given, rule="sysu", cmc=cmc)
    assert small_products == [True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "STREAMED_FROM", 10_000)
        expected = rank_features(*given, rule="sysu", cmc=cmc)
    assert small_products == [True]
    for name in ("ap", "inp", "first_hit_rank", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_queries_of_identities_with_many_images_come_in_smaller_blocks():
    """Memory is bounded: each match of each query has a position, a score and a rank."""
    many, few = np.zeros(100_000, int), np.arange(100_000)
    assert stream.queries_at_once(ranks.GalleryLayout.of(many)) * 64 * 100_000 <= stream.BLOCK_BYTES
    assert stream.queries_at_once(ranks.GalleryLayout.of(few)) > 1000


def test_features_that_are_all_one_rank_in_the_order_of_the_gallery(small_products):
    identity = np.arange(50)
    labels = Labels(identity, np.ones(50, int))
    rows = np.tile(np.random.default_rng(1).normal(size=70).astype(np.float32), (50, 1))
    found = rank_features(rows, rows, labels, labels, cmc="plain")
    assert small_products == [True]
    assert found.first_hit_rank.tolist() == (1 + identity).tolist()


def test_where_products_round_unlike_whole_rows_are_held(small_products, monkeypatch):
    """A match whose score is another in its own block tells nothing of its rank."""

    def unlike(self, gallery, queries, rows):
        values = features.cosine.compare(queries, self.read(gallery, rows, "gallery"))
        return values if isinstance(rows, slice) else values * (1 + 1e-6)

    query, gallery, query_labels, gallery_labels = random_problem()
    monkeypatch.setattr(features._Reader, "similarities", unlike)
    found = rank_features(query, gallery, query_labels, gallery_labels)
    assert small_products == [False]
    expected = rank_queries(unit(query) @ unit(gallery).T, query_labels, gallery_labels)
    np.testing.assert_allclose(found.ap, expected.ap, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, r"gallery feature 77 \(from 0\)"), (0.0, r"2 of 90 gallery .* the first of them feature 12 \(from 0\)")],
)
def test_a_feature_that_cannot_be_compared_is_named_in_one_pass_too(small_products, value, message):
    query, gallery, query_labels, gallery_labels = random_problem()
    gallery[12 if value == 0 else 77] = gallery[77] = value
    with pytest.raises(UserError, match=message):
        rank_features(query, gallery, query_labels, gallery_labels)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_reranked(variant):
    query, gallery, query_labels, gallery_labels = random_problem(30)
    config = KReciprocal(name=variant, k1=8, k2=3)
    distances = naive.rerank(np.concatenate([unit(query), unit(gallery)]), len(query), variant, 8, 3, 0.3)
    expected = naive.rank(-distances, query_labels, gallery_labels, "none", "plain")
    found = rank_features(query, gallery, query_labels, gallery_labels, cmc="plain", reranking=config)
    assert found.ap == pytest.approx([e[0] for e in expected], abs=1e-9)


def test_single_precision_products_agree_on_every_path(monkeypatch):
    random = np.random.default_rng(0)
    first, second = (torch.from_numpy(random.normal(size=(n, 300)).astype(np.float32)) for n in (70, 40))
    exact = first.double() @ second.double().T
    for operator in (scorers.ONE_DNN, None):
        monkeypatch.setattr(scorers, "ONE_DNN", operator)
        np.testing.assert_allclose(scorers.inner(first, second).numpy(), exact.numpy(), atol=2e-4)
        squared = torch.cdist(first.double(), second.double()).square()
        np.testing.assert_allclose(scorers.squared_distances(first, second).numpy(), squared.numpy(), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_within_are_whole_and_zero_to_themselves(monkeypatch, dtype):
    monkeypatch.setattr(scorers, "TILE", 7)
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(25, 9))).to(dtype)
    found = scorers.distances_within(rows)
    assert not found.diagonal().any()
    np.testing.assert_allclose(found, torch.cdist(rows, rows).square(), atol=1e-4)


def test_features_given_are_left_as_they_are():
    labels = Labels(np.arange(3), np.ones(3, int))
    rows = torch.arange(9.0).reshape(3, 3)
    expected = rows.clone()
    rank_features(rows, rows, labels, labels)
    cosine(rows, rows)
    assert torch.equal(rows, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.full((2, 3), np.nan)}, r"query feature 0 \(from 0\) is not finite"),
        ({"gallery": np.array([[1.0] * 3] * 3 + [[np.inf] * 3])}, r"gallery feature 3 \(from 0\) is not finite"),
        ({"query": np.ones((3, 3))}, r"query features have shape \(3, 3\), but there are 2 identities"),
        ({"gallery": np.ones(4)}, r"gallery features have shape \(4,\)"),
        ({"gallery": np.ones((4, 2))}, "3 wide but gallery features 2"),
        ({"gallery_labels": Labels(np.empty(0, int), np.empty(0, int))}, "the gallery is empty"),
        ({"query_labels": Labels(np.arange(2), np.arange(3))}, "query: 2 identities but 3 cameras"),
        ({"rule": "sysy"}, "did you mean 'sysu'"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "query": np.ones((2, 3)),
        "gallery": np.ones((4, 3)),
        "query_labels": Labels(np.arange(2), np.arange(2)),
        "gallery_labels": Labels(np.arange(4), np.arange(4)),
    } | change
    with pytest.raises(UserError, match=message):
        rank_features(**given)


def test_a_single_identity_is_ranked():
    labels = Labels(np.ones(3, int), np.ones(3, int))
    metrics = rank_features(np.eye(3), np.eye(3), labels, labels).aggregate()
    assert metrics["mAP"] == metrics["r1"] == 1.0
