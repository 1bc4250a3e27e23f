"""Stored galleries against their definitions, written as loops in double precision."""

import math
import tracemalloc

import numpy as np
import pytest

from vireid.evaluation import gallery as module
from vireid.evaluation.gallery import (
    STORAGES,
    Gallery,
    best,
    candidates,
    fit_codec,
    random_gallery,
    stand_in,
    storages_for,
)

WIDTH, ROWS = 300, 257  # neither fills whole words or blocks


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(3)
    mixing = generator.standard_normal((WIDTH, WIDTH)) * np.linspace(2, 0.05, WIDTH)[:, None]
    training, gallery, queries = (generator.standard_normal((n, WIDTH)) @ mixing + 0.3 for n in (400, ROWS, 5))
    return training, gallery, queries


def length_one(rows):
    lengths = [math.sqrt(sum(float(value) ** 2 for value in row)) for row in rows]
    return [[float(value) / length for value in row] for row, length in zip(rows, lengths, strict=True)]


def naive_int8(rows, queries):
    scores = []
    for query in length_one(queries):
        scores.append([])
        for row in length_one(rows):
            scale = max(abs(value) for value in row) / 127
            scores[-1].append(
                scale * sum(round(value / scale) * other for value, other in zip(row, query, strict=True))
            )
    return np.array(scores)


def naive_scores(name, training, rows, queries):
    if name in ("fp32", "fp16"):
        stored = [[float(np.float16(v)) if name == "fp16" else v for v in row] for row in length_one(rows)]
        return np.array([[sum(a * b for a, b in zip(q, r, strict=True)) for r in stored] for q in length_one(queries)])
    if name == "int8":
        return naive_int8(rows, queries)
    features = np.array(length_one(training))
    mean = features.mean(axis=0)
    _, _, directions = np.linalg.svd(features - mean)  # another way to the same leading directions
    kept = directions[: module.REDUCED[name]].T
    sides = [np.array(length_one((np.array(length_one(side)) - mean) @ kept)) for side in (rows, queries)]
    return sides[1] @ sides[0].T


@pytest.mark.parametrize("name", [name for name in STORAGES if name != "binary"])
def test_scores_are_those_of_the_definition(name, data):
    training, rows, queries = data
    gallery = Gallery.of(fit_codec(name, WIDTH, training), rows)
    expected = naive_scores(name, training, rows, queries)
    # a code of int8 or half precision may fall to the other side where a value lies on the edge of two
    tolerance = {"int8": 3e-4, "fp16": 5e-4}.get(name, 5e-6)
    for query, scores in zip(queries, expected, strict=True):
        np.testing.assert_allclose(gallery.scores(query), scores, atol=tolerance)


def naive_binary(training, rows, query, top):
    mean = np.array(length_one(training)).mean(axis=0)
    stored, asked = length_one(rows), length_one([query])[0]
    distances = [
        sum((value > m) != (other > m) for value, other, m in zip(row, asked, mean, strict=True)) for row in stored
    ]
    order = sorted(range(len(rows)), key=lambda row: (distances[row], row))
    (exact,) = naive_int8(rows, [query])
    first = max(26, top)  # a tenth of 257 rows
    ranked = sorted(order[:first], key=lambda row: -exact[row])
    return ranked[:top], [*ranked, *order[first:]]


@pytest.mark.parametrize("top", [10, 40])
def test_binary_is_hamming_distance_put_in_order_by_int8(top, data):
    training, rows, queries = data
    gallery = Gallery.of(fit_codec("binary", WIDTH, training), rows)
    for query in queries:
        expected, _ = naive_binary(training, rows, query, top)
        np.testing.assert_array_equal(gallery.search(query, top), expected)
    _, everything = naive_binary(training, rows, queries[0], 10)
    np.testing.assert_array_equal(best(gallery.scores(queries[0]), ROWS), everything)


def test_bits_are_counted_alike_by_older_numpy(data, monkeypatch):
    training, rows, queries = data
    gallery = Gallery.of(fit_codec("binary", WIDTH, training), rows)
    expected = [gallery.scores(query) for query in queries]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    for query, scores in zip(queries, expected, strict=True):
        np.testing.assert_array_equal(gallery.scores(query), scores)


@pytest.mark.parametrize("name", STORAGES)
def test_a_gallery_filled_in_parts_is_the_whole_and_its_search_the_head_of_its_scores(name, data):
    training, rows, queries = data
    codec = fit_codec(name, WIDTH, training)
    whole, parts = Gallery.of(codec, rows), Gallery(codec, ROWS)
    for start in range(0, ROWS, 50):
        parts.fill(start, rows[start : start + 50])
    for query in queries:
        np.testing.assert_allclose(parts.scores(query), whole.scores(query), atol=1e-6)
        np.testing.assert_array_equal(whole.search(query, 20), best(whole.scores(query), 20))


@pytest.mark.parametrize("name", STORAGES)
def test_rows_of_one_image_come_together(name, data):
    training, rows, queries = data
    gallery = Gallery.of(fit_codec(name, WIDTH, training), np.tile(rows[:4], (30, 1)))
    found = gallery.search(queries[0], 30)
    np.testing.assert_array_equal(np.sort(found), np.arange(found[0] % 4, 120, 4))


def test_best_takes_the_first_of_equal_scores():
    np.testing.assert_array_equal(best(np.array([1, 3, 2, 3, 2, 2]), 4), [1, 3, 2, 4])
    np.testing.assert_array_equal(best(np.array([1, 2]), 5), [1, 0])


@pytest.mark.parametrize(
    ("name", "stored", "scanned"),
    [("fp32", 1200, 1200), ("fp16", 600, 600), ("int8", 304, 304), ("pca64", 256, 256), ("binary", 344, 40)],
)
def test_bytes_of_a_row(name, stored, scanned):
    gallery = Gallery(stand_in(name, WIDTH), 1000)
    assert (gallery.nbytes, gallery.scanned_bytes) == (1000 * stored, 1000 * scanned)


@pytest.mark.parametrize("name", ["int8", "binary", "pca64"])
def test_filling_and_searching_hold_no_second_copy(name):
    width, rows = 256, 100_000
    codec = stand_in(name, width)
    tracemalloc.start()
    try:
        gallery = Gallery(codec, rows)
        for start in range(0, rows, 2000):
            gallery.fill(start, np.random.default_rng(start).standard_normal((2000, width), dtype=np.float32))
        gallery.search(np.ones(width, dtype=np.float32), 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    in_float32 = 4 * width * rows
    assert peak < gallery.nbytes + in_float32 / 5


def test_random_rows_fill_all(data):
    scores = random_gallery(stand_in("fp32", WIDTH), 40).scores(data[2][0])
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) == 40


def test_a_tenth_of_the_rows_is_put_in_order_and_never_more_than_100():
    assert [candidates(rows) for rows in (1, 11, 257, 1000, 1_000_000)] == [1, 2, 26, 100, 100]


def test_storages_of_a_width():
    assert storages_for(128) == ("fp32", "fp16", "int8", "pca64", "binary")
    assert storages_for(64) == ("fp32", "fp16", "int8", "binary")
    with pytest.raises(ValueError, match="storage pca256: of 256 values there are fp32, fp16, int8, pca128"):
        fit_codec("pca256", 256)
    with pytest.raises(ValueError, match="storage pca64: 64 training features; more than 64 are needed"):
        fit_codec("pca64", 128, np.ones((64, 128)))
    with pytest.raises(ValueError, match="storage binary: no training features"):
        fit_codec("binary", 128)
