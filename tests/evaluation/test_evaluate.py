from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vireid.core.errors import UserError
from vireid.evaluation import evaluate as module
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.metrics import METRICS, Labels
from vireid.evaluation.protocols import KReciprocal, ProtocolConfig
from vireid.evaluation.trials import plan_trials

from . import naive


@pytest.fixture
def features(index):
    random = np.random.default_rng(2)
    centre = random.normal(size=(400, 8))
    return (centre[index.identity] + 1.5 * random.normal(size=(len(index), 8))).astype(np.float32)


def expected(features, index, config, permutations, distances=None):
    """Metrics per trial and per-query values from the naive loop."""
    labels = Labels(index.identity, index.camera)
    rows = features.astype(np.float64)
    if config.normalise:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for trial in plan_trials(config, index, permutations):
        query, gallery = rows[trial.query], rows[trial.gallery]
        if isinstance(config.reranking, KReciprocal):
            r = config.reranking
            scores = -naive.rerank(np.concatenate([query, gallery]), len(query), r.name, r.k1, r.k2, r.lambda_value)
        else:
            scores = -((query[:, None] - gallery[None]) ** 2).sum(-1)
        args = scores, labels[trial.query], labels[trial.gallery], config.spec.rule, config.cmc
        found.append(naive.rank(*args))
    return found


@pytest.mark.parametrize(
    "choices",
    [
        {"name": "sysu/official"},
        {"name": "sysu/official", "mode": "indoor", "shots": 10, "trials": 4},
        {"name": "sysu/official", "normalise": False},
        {"name": "sysu/official", "trials": 2, "reranking": {"name": "zhong", "k1": 10, "k2": 4}},
        {"name": "sysu/official", "trials": 1, "reranking": {"name": "query-only", "k1": 8, "k2": 3}},
        {"name": "sysu/seeded"},
        {"name": "regdb/10split"},
        {"name": "regdb/10split", "direction": "t2v"},
        {"name": "regdb/split1", "cmc": "dedup"},
        {"name": "llcm/sampled", "direction": "v2i"},
        {"name": "llcm/deen-released", "direction": "v2i"},
        {
            "name": "llcm/deen-released",
            "direction": "v2i",
            "trials": 2,
            "reranking": {"name": "zhong", "k1": 5, "k2": 2},
        },
        {"name": "llcm/full"},
    ],
)
@pytest.mark.parametrize("block", [200, 4_000_000])
def test_protocols_equal_a_naive_loop(index, permutations, features, monkeypatch, choices, block):
    monkeypatch.setattr(module, "PRODUCT_CELLS", block)
    config = ProtocolConfig(**choices)
    rows = features.astype(np.float64)  # near-ties must fall as in the float64 loop
    result = evaluate(rows, index, config, permutations)
    loop = expected(rows, index, config, permutations)
    flat = [query for trial in loop for query in trial]
    frame = result.per_query
    assert frame.valid.tolist() == [query is not None for query in flat]
    valid = frame[frame.valid]
    assert valid[["ap", "inp", "first_hit_rank"]].to_numpy() == pytest.approx(
        np.array([query for query in flat if query is not None]), abs=1e-9
    )
    for number, trial in enumerate(loop):
        hits = [query for query in trial if query is not None]
        assert result.per_trial[number]["mAP"] == pytest.approx(np.mean([h[0] for h in hits]))
        assert result.per_trial[number]["mINP"] == pytest.approx(np.mean([h[1] for h in hits]))
        for rank in (1, 5, 10, 20):
            assert result.per_trial[number][f"r{rank}"] == pytest.approx(np.mean([h[2] <= rank for h in hits]))
    for name in METRICS:
        assert result.metrics[name] == pytest.approx(np.mean([trial[name] for trial in result.per_trial]))


def test_blocks_of_features_rerank_as_shared_matrices_do(index, permutations, features, monkeypatch):
    config = ProtocolConfig(name="sysu/official", trials=2, reranking={"name": "zhong", "k1": 10, "k2": 4})
    shared = evaluate(features.astype(np.float64), index, config, permutations)
    monkeypatch.setattr(module, "SHARED_CELLS", 0)
    alone = evaluate(features.astype(np.float64), index, config, permutations)
    assert alone.metrics == pytest.approx(shared.metrics, abs=1e-12)


def test_trials_have_a_spread_and_identities_an_interval(index, permutations, features):
    result = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations)
    for name in METRICS:
        values = [trial[name] for trial in result.per_trial]
        assert result.spread[name] == pytest.approx(np.std(values, ddof=1))
        interval = result.intervals[name]
        assert interval.low <= result.metrics[name] <= interval.high
        assert (interval.level, interval.over) == (0.95, "query identities")
    again = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations)
    assert again.intervals == result.intervals
    assert evaluate(features, index, ProtocolConfig(name="sysu/official", trials=1), permutations).spread == {}


def test_one_identity_has_no_interval(index, permutations, features):
    kept = index.identity == 6
    one = index.select(kept)
    result = evaluate(features[kept], one, ProtocolConfig(name="sysu/official"), permutations)
    assert result.intervals == {}
    assert result.metrics["r1"] == 1.0


def test_the_card_says_what_the_features_are(index, permutations, features):
    notes = {"selection": "best test rank-1", "test_time_augmentation": "flip", "text": "oracle"}
    card = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations, **notes).card
    assert {name: card[name] for name in notes} == notes


def test_tables_link_queries_trials_and_images(index, permutations, features):
    result = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations, split="dev", top_k=5)
    frame = result.per_query
    columns = ["trial", "query", "identity", "camera", "ap", "inp", "first_hit_rank", "valid", "candidates", "matches"]
    assert list(frame.columns) == columns
    assert frame.groupby("trial").size().tolist() == [96] * 10
    assert ((frame.matches > 0) == frame.valid).all()
    camera_of = dict(zip(index.paths, index.camera, strict=True))
    assert (frame["query"].map(camera_of) == frame.camera).all()
    assert {key: result.card[key] for key in ("split", "queries", "valid_queries", "gallery")} == {
        "split": "dev",
        "queries": 96,
        "valid_queries": 96,
        "gallery": 14,
    }
    top = result.top
    assert list(top.columns) == ["query", "rank", "gallery", "correct"]
    assert top["rank"].max() == 5
    identity_of = dict(zip(index.paths, index.identity, strict=True))
    assert (top.correct == (top["query"].map(identity_of) == top.gallery.map(identity_of))).all()
    seen_by_camera_3 = top[top["query"].map(camera_of) == 3].gallery.map(camera_of)
    assert 2 not in set(seen_by_camera_3)
    assert 2 in set(top[top["query"].map(camera_of) == 6].gallery.map(camera_of))
    # A query's best gallery image decides rank 1 under either convention.
    best = top[top["rank"] == 1].correct.to_numpy()
    np.testing.assert_array_equal(best, frame[frame.trial == 0].first_hit_rank.to_numpy() == 1)


def test_top_lists_are_optional(index, permutations, features):
    result = evaluate(features, index, ProtocolConfig(name="sysu/official"), permutations, top_k=0)
    assert len(result.top) == 0
    assert list(result.top.columns) == ["query", "rank", "gallery", "correct"]


def test_tensors_and_halves_are_taken(index, permutations, features):
    config = ProtocolConfig(name="sysu/official")
    whole = evaluate(features, index, config, permutations).metrics
    assert evaluate(torch.from_numpy(features), index, config, permutations).metrics == whole
    assert evaluate(features.astype(np.float16), index, config, permutations).metrics == pytest.approx(whole, abs=0.02)


def test_features_that_do_not_fit_are_named(index, permutations, features):
    config = ProtocolConfig(name="sysu/official")
    with pytest.raises(UserError, match=f"lists {len(index)} images; extract one row per image"):
        evaluate(features[:-1], index, config, permutations)
    features[7, 3] = np.nan
    with pytest.raises(UserError, match=f"features of 1 images are not finite, the first of them {index.paths[7]}"):
        evaluate(features, index, config, permutations)


def test_features_without_a_direction_are_named_by_image(index, permutations, features):
    config = ProtocolConfig(name="sysu/official", trials=1)
    trial = plan_trials(config, index, permutations)[0]
    unseen = np.setdiff1d(np.arange(len(index)), np.concatenate([trial.query, trial.gallery]))
    features[unseen] = 0  # images that the protocol does not look at need no features
    evaluate(features, index, config, permutations)
    features[trial.query[[4, 6]]] = 0
    first = index.paths[min(trial.query[[4, 6]])]
    with pytest.raises(UserError, match=rf"features of 2 of \d+ images are unusable, the first of them of {first}"):
        evaluate(features, index, config, permutations)
    config = ProtocolConfig(name="sysu/official", trials=1, normalise=False)
    features[trial.query[4]] = 1e30
    with pytest.raises(UserError, match=r"features of 1 of .*too long or too short for squared distances"):
        evaluate(features, index, config, permutations)


def test_matches_that_the_rule_removed_are_told(index, features):
    index = replace(index, camera=np.ones_like(index.camera))
    words = r"queries have matches, all removed by the rule same-id-same-cam \(same camera\)"
    with pytest.raises(UserError, match=words):
        evaluate(features, index, ProtocolConfig(name="llcm/sampled", trials=1))
