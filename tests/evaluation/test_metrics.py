from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.errors import UserError
from vireid.evaluation.metrics import (
    CAMERA_RULES,
    METRICS,
    Labels,
    filtered_counts,
    metric_units,
    rank_queries,
    top_matches,
)
from vireid.evaluation.scorers import cosine

from . import naive

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("rule", list(CAMERA_RULES))
def test_counts_left_by_a_rule_equal_a_naive_loop(rule):
    rng = np.random.default_rng(5)
    query, gallery = (Labels(*(rng.integers(*ends, n) for ends in ((0, 7), (1, 7), (0, 2)))) for n in (40, 60))
    candidates, matches = filtered_counts(query, gallery, rule)
    for n, identity in enumerate(query.identity):
        left = [i for g, i in enumerate(gallery.identity) if not naive.removed(rule, query, n, gallery, g)]
        assert (candidates[n], matches[n]) == (len(left), left.count(identity))


def test_matches_of_the_other_modality_need_modalities():
    query, gallery = labels([1, 2]), labels([1, 2])
    with pytest.raises(ValueError, match="need labels with modalities"):
        rank_queries(np.eye(2), query, gallery, rule="sysu_mixed_other")


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize(
    ("key", "rule", "cmc", "camera"),
    [
        ("sysu_a", "sysu", "dedup", "query_cam"),
        ("sysu_b", "sysu", "dedup", "query_cam"),
        ("regdb", "none", "plain", "query_cam"),
        ("same_id_same_cam", "same_id_same_cam", "dedup", "query_cam_llcm"),
    ],
)
@pytest.mark.parametrize("block_cells", [1, 4_000_000])
def test_golden_metrics(case, key, rule, cmc, camera, block_cells):
    data = np.load(GOLDEN / f"case_{case}.npz")
    expected = json.loads((GOLDEN / f"case_{case}.json").read_text())[key]
    scores = cosine(torch.from_numpy(data["query"]), torch.from_numpy(data["gallery"]))
    query = Labels(data["query_id"], data[camera])
    gallery = Labels(data["gallery_id"], data["gallery_cam"])
    found = rank_queries(scores, query, gallery, rule=rule, cmc=cmc, block_cells=block_cells).aggregate()
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@st.composite
def problems(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    queries, images = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    identities = draw(st.integers(1, 8))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))  # few levels: many ties
    scores = random.integers(-levels, levels + 1, (queries, images)) / levels
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))

    def labels(n):
        return Labels(random.integers(0, identities, n), random.integers(1, 7, n), random.integers(0, 2, n))

    return scores.astype(dtype), labels(queries), labels(images)


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(),
    rule=st.sampled_from(sorted(CAMERA_RULES)),
    cmc=st.sampled_from(["dedup", "plain"]),
    distance=st.booleans(),
    block_cells=st.sampled_from([1, 40, 4_000_000]),
)
def test_equals_a_naive_loop_with_ties(problem, rule, cmc, distance, block_cells):
    scores, query, gallery = problem
    expected = naive.rank(scores, query, gallery, rule, cmc, distance)
    found = rank_queries(scores, query, gallery, rule=rule, cmc=cmc, distance=distance, block_cells=block_cells)
    assert found.valid.tolist() == [e is not None for e in expected]
    for q, e in enumerate(expected):
        if e is None:
            assert np.isnan(found.ap[q])
            assert np.isnan(found.inp[q])
            assert found.first_hit_rank[q] == 0
        else:
            assert (found.ap[q], found.inp[q]) == pytest.approx(e[:2], abs=1e-9)
            assert found.first_hit_rank[q] == e[2]
    best = top_matches(scores, query, gallery, 5, rule=rule, distance=distance)
    for q in range(len(query)):
        kept = [g for g in range(len(gallery)) if not naive.removed(rule, query, q, gallery, g)]
        row = scores[q] if distance else -scores[q]
        assert [g for g in best[q].tolist() if g >= 0] == sorted(kept, key=row.__getitem__)[:5]


def labels(identity, camera=None):
    identity = np.asarray(identity)
    return Labels(identity, np.ones_like(identity) if camera is None else np.asarray(camera))


def test_dedup_counts_identities_and_plain_counts_images():
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    query, gallery = labels([1]), labels([7, 7, 8, 1])
    assert rank_queries(scores, query, gallery, cmc="plain").first_hit_rank.tolist() == [4]
    assert rank_queries(scores, query, gallery, cmc="dedup").first_hit_rank.tolist() == [3]


def test_a_rule_that_removes_a_whole_identity_leaves_the_query_out_of_every_mean():
    scores = np.array([[0.9, 0.1], [0.9, 0.1]])
    query, gallery = labels([1, 1], [3, 6]), labels([1, 2], [2, 1])
    found = rank_queries(scores, query, gallery, rule="sysu")
    assert found.valid.tolist() == [False, True]
    assert found.aggregate() == dict.fromkeys(METRICS, 1.0)


def test_bfloat16_and_half_tensors_are_ranked():
    query, gallery = labels([1, 2]), labels([2, 1])
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        scores = torch.tensor([[0.1, 0.9], [0.9, 0.1]], dtype=dtype)
        assert rank_queries(scores, query, gallery).aggregate()["r1"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.array([[np.nan, 1.0]]), labels([1]), labels([1, 2])), "score of query 0 and gallery image 0 is nan"),
        ((np.ones((1, 2)), labels([1]), labels([1, 2, 3])), r"shape \(1, 2\).*3 gallery"),
        ((np.ones((1, 2)), labels([1], [1, 1]), labels([1, 2])), "query: 1 identities but 2 cameras"),
        ((np.ones((1, 0)), labels([1]), Labels(np.empty(0, int), np.empty(0, int))), "gallery is empty"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        rank_queries(*arguments)


def test_no_valid_query_is_an_error_not_a_nan():
    found = rank_queries(np.ones((1, 1)), labels([1]), labels([2]))
    with pytest.raises(UserError, match="none of the 1 queries"):
        found.aggregate()


def test_unknown_rule_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'sysu'"):
        rank_queries(np.ones((1, 1)), labels([1]), labels([1]), rule="sysy")


def test_units_are_declared_for_every_metric():
    assert metric_units() == dict.fromkeys(METRICS, "fraction in [0, 1], higher is better")


def test_junk_is_listed_and_counted_for_nobody():
    query = Labels(np.array([1, 2]), np.array([3, 6]))
    gallery = Labels(np.array([-1, 1, 2, -1]), np.array([1, 2, 1, 4]))
    scores = np.array([[0.9, 0.5, 0.1, 0.8], [0.9, 0.5, 0.1, 0.8]])
    assert top_matches(scores, query, gallery, 3).tolist() == [[1, 2, -1], [1, 2, -1]]
    assert [counts.tolist() for counts in filtered_counts(query, gallery, "sysu")] == [[1, 2], [0, 1]]
    assert rank_queries(scores, query, gallery).first_hit_rank.tolist() == [1, 2]
