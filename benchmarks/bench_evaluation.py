"""Speed of evaluation against a straightforward per-query NumPy loop, at the size of SYSU-MM01 all-search.

The two take turns on one thread, so that a busy machine slows both; each reports its median.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from vireid.core.types import ImageIndex, Modality
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.metrics import Labels, rank_queries
from vireid.evaluation.protocols import ProtocolConfig
from vireid.evaluation.scorers import cosine
from vireid.evaluation.trials import plan_trials

pytestmark = pytest.mark.usefixtures("one_thread")

DIMENSIONS, IDENTITIES, QUERIES, TRIALS = 2048, 96, 3803, 10
VISIBLE_PER_CAMERA = 22  # 6,775 visible test images over 301 folders


@pytest.fixture(scope="module")
def problem():
    """3,803 queries and 301 gallery folders, as many as SYSU-MM01 has, with random clustered features."""
    random = np.random.default_rng(0)
    folders = [(camera, identity) for camera in (1, 2, 4, 5) for identity in range(1, IDENTITIES + 1)][:301]
    visible = np.array([(c, i, n) for c, i in folders for n in range(1, VISIBLE_PER_CAMERA + 1)])
    infrared = np.stack(
        [random.choice([3, 6], QUERIES), random.integers(1, IDENTITIES + 1, QUERIES), np.arange(QUERIES) + 1], axis=1
    )
    camera, identity, number = np.concatenate([visible, infrared]).T.astype(np.int64)
    modality = np.where(np.isin(camera, [3, 6]), int(Modality.INFRARED), int(Modality.VISIBLE)).astype(np.int64)
    paths = tuple(f"cam{c}/{i:04d}/{n:04d}.jpg" for c, i, n in zip(camera, identity, number, strict=True))
    index = ImageIndex(Path("sysu"), paths, identity, modality, camera, number)
    permutations = {
        folder: np.array([random.permutation(VISIBLE_PER_CAMERA) + 1 for _ in range(TRIALS)]) for folder in folders
    }
    centre = random.normal(size=(IDENTITIES + 1, DIMENSIONS))
    features = (centre[identity] + 6 * random.normal(size=(len(index), DIMENSIONS))).astype(np.float32)
    return features, index, permutations


def loop_over_queries(similarities, query, gallery):
    """R1, mAP and mINP of one trial, query after query: similarities, sort, filter, CMC, AP, INP."""
    rows = []
    for number in range(len(query)):
        order = np.argsort(-similarities(number), kind="stable")
        if query.camera[number] == 3:
            order = order[gallery.camera[order] != 2]
        ranked = gallery.identity[order]
        hits = np.flatnonzero(ranked == query.identity[number])
        if len(hits) == 0:
            continue
        first = np.sort(np.unique(ranked, return_index=True)[1])
        rank = 1 + int(np.flatnonzero(ranked[first] == query.identity[number])[0])
        precision = np.arange(1, len(hits) + 1) / (hits + 1)
        rows.append((rank <= 1, precision.mean(), len(hits) / (hits[-1] + 1)))
    return np.mean(rows, axis=0)


def take_turns(ours, loop, capsys, what):
    """Compare two functions on one thread each, in turns; print the medians and return ours."""
    seconds = {ours: [], loop: []}
    values = {}
    for _ in range(3):
        for function, samples in seconds.items():
            start = time.perf_counter()
            values[function] = function()
            samples.append(time.perf_counter() - start)
    assert values[ours] == pytest.approx(values[loop], abs=1e-4)
    fast, slow = (statistics.median(samples) for samples in seconds.values())
    with capsys.disabled():
        print(f"\n{what}: {fast:.3f} s, per-query loop {slow:.2f} s, {slow / fast:.1f} times faster")
    return seconds


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


def summary(metrics):
    return [metrics["r1"], metrics["mAP"], metrics["mINP"]]


def test_ten_trials_from_features(problem, benchmark, capsys):
    """The matrix product, which both need, is most of ours."""
    features, index, permutations = problem
    config = ProtocolConfig(name="sysu/official")
    labels = Labels(index.identity, index.camera)

    def ours():
        return summary(evaluate(features, index, config, permutations, top_k=0).metrics)

    def loop():
        rows = features / np.linalg.norm(features, axis=1, keepdims=True)
        means = []
        for trial in plan_trials(config, index, permutations):
            gallery, queries = rows[trial.gallery], rows[trial.query]
            sides = labels[trial.query], labels[trial.gallery]
            means.append(loop_over_queries(lambda n, g=gallery, q=queries: g @ q[n], *sides))
        return np.mean(means, axis=0)

    benchmark.extra_info["samples"] = list(take_turns(ours, loop, capsys, "ten trials from features").values())
    benchmark.pedantic(ours, rounds=3)


def test_one_trial_from_similarities(problem, benchmark, capsys):
    """Ranking alone."""
    features, index, permutations = problem
    config = ProtocolConfig(name="sysu/official", trials=1)
    labels = Labels(index.identity, index.camera)
    (trial,) = plan_trials(config, index, permutations)
    scores = cosine(torch.from_numpy(features[trial.query]), torch.from_numpy(features[trial.gallery])).numpy()
    query, gallery = labels[trial.query], labels[trial.gallery]

    def ours():
        return summary(rank_queries(scores, query, gallery, rule="sysu").aggregate())

    def loop():
        return loop_over_queries(scores.__getitem__, query, gallery)

    benchmark.extra_info["samples"] = list(take_turns(ours, loop, capsys, "one trial from similarities").values())
    benchmark.pedantic(ours, rounds=5)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_one_reranked_trial(problem, benchmark, variant):
    features, index, permutations = problem
    config = ProtocolConfig(name="sysu/official", trials=1, reranking={"name": variant})
    benchmark.pedantic(evaluate, (features, index, config, permutations), {"top_k": 0}, rounds=2)
