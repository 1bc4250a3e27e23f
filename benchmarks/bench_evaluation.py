"""Speed of evaluation and re-ranking at the size of SYSU-MM01 all-search, from features to metrics.

Each is measured in turns with a straightforward NumPy loop and with the matrix products alone, on all cores.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ranking import field
from ranking.problem import sysu
from ranking.turns import ratios, take_turns

from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.metrics import Labels, rank_queries
from vireid.evaluation.neighbours import QueryDistances
from vireid.evaluation.protocols import KReciprocal, ProtocolConfig
from vireid.evaluation.reranking import rerank
from vireid.evaluation.scorers import Multiplied, cosine, inner, squared_distances, unit
from vireid.evaluation.trials import plan_trials


@pytest.fixture(scope="module")
def problem():
    return sysu()


@pytest.fixture
def compare(benchmark, capsys):
    """Run the functions in turns, check that those which give a list (of metrics) agree, print ratios to the first."""

    def run(what, functions):
        ours = next(iter(functions))
        functions[ours]()
        seconds, values = take_turns(functions)
        for metrics in values.values():
            if isinstance(metrics, list):
                assert metrics == pytest.approx(values[ours], abs=1e-4)
        with capsys.disabled():
            print(f"\n{what} ({torch.get_num_threads()} threads)\n{ratios(seconds, ours)}")
        benchmark.extra_info["samples"] = seconds
        benchmark.pedantic(functions[ours], rounds=3)

    return run


def summary(metrics):
    return [metrics["r1"], metrics["mAP"], metrics["mINP"]]


def ten_trials(problem, **choices):
    features, index, permutations = problem
    config = ProtocolConfig(name="sysu/official", **choices)
    trials, labels = plan_trials(config, index, permutations), Labels(index.identity, index.camera)
    return features, trials, labels, lambda: summary(evaluate(features, index, config, permutations, top_k=0).metrics)


def products_of(features, trials, multiply):
    """The products alone, of normalised features: every trial's, or those of the union of galleries."""
    rows = unit(torch.from_numpy(features))
    query = rows[trials[0].query]
    union = rows[np.unique(np.concatenate([trial.gallery for trial in trials]))]
    galleries = [rows[trial.gallery] for trial in trials]

    def every_trial():
        for gallery in galleries:
            multiply(gallery, query)

    return every_trial, lambda: multiply(union, query)


def test_ten_trials_from_features(problem, compare):
    features, trials, labels, ours = ten_trials(problem)
    every_trial, _ = products_of(features, trials, lambda a, b: a @ b.T)
    _, union = products_of(features, trials, inner)
    functions = {
        "vireid": ours,
        "loop of the field's style": lambda: list(field.evaluate(features, trials, labels)),
        "NumPy query by query": lambda: list(field.evaluate_query_by_query(features, trials, labels)),
        "products of every trial at torch's rate": every_trial,
        "products of all galleries together at oneDNN's rate": union,
    }
    compare("SYSU all-search, 3,803 × 301 × 2,048, ten trials from features", functions)


def test_one_trial_from_similarities(problem, compare):
    """Ranking alone."""
    features, trials, labels, _ = ten_trials(problem, trials=1)
    (trial,) = trials
    scores = cosine(torch.from_numpy(features[trial.query]), torch.from_numpy(features[trial.gallery])).numpy()
    query, gallery = labels[trial.query], labels[trial.gallery]
    functions = {
        "vireid": lambda: summary(rank_queries(scores, query, gallery, rule="sysu").aggregate()),
        "loop of the field's style": lambda: list(field.loop(-scores, query, gallery)),
        "NumPy query by query": lambda: list(field.query_by_query(scores.__getitem__, query, gallery)),
    }
    compare("one trial from similarities", functions)


def test_reranking_from_features(problem, compare):
    """Ten trials of ours against one of the reference: ours share the distances among queries."""
    features, trials, labels, ours = ten_trials(problem, reranking={"name": "zhong"})
    *_, single = ten_trials(problem, trials=1, reranking={"name": "zhong"})
    reference = field.evaluate(features, trials[:1], labels, rerank=field.rerank)
    assert single() == pytest.approx(list(reference), abs=2e-3)
    query = unit(torch.from_numpy(features[trials[0].query]))
    functions = {
        "vireid, one trial": single,
        "vireid, ten trials": lambda: tuple(ours()),
        "NumPy reference, one trial": lambda: field.evaluate(features, trials[:1], labels, rerank=field.rerank),
        "products among queries at oneDNN's rate": lambda: Multiplied(query).inner(query),
    }
    compare("re-ranking of 3,803 + 301 from features", functions)


@pytest.mark.parametrize("variant", ["zhong", "query-only"])
def test_reranking_from_distances(problem, compare, variant):
    """The re-ranking alone; the reference is of the variant ``zhong``, whose work is the same."""
    features, trials, _, _ = ten_trials(problem, trials=1)
    rows = unit(torch.from_numpy(features))
    query, gallery = rows[trials[0].query], rows[trials[0].gallery]
    parts = [squared_distances(a, b).numpy() for a, b in ((query, query), (query, gallery), (gallery, gallery))]
    stacked = np.block([[parts[0], parts[1]], [parts[1].T, parts[2]]])
    np.fill_diagonal(stacked, 0)
    config = KReciprocal(name=variant)
    if variant == "zhong":
        np.testing.assert_allclose(rerank(*parts, config), field.rerank(stacked, len(query)), atol=1e-4)
    shared = QueryDistances(parts[0])
    shared.nearest(config.k1 + 1)
    functions = {
        "vireid": lambda: rerank(*parts, config),
        "vireid, a further trial": lambda: rerank(shared, *parts[1:], config),
        "NumPy reference": lambda: field.rerank(stacked, len(query)),
    }
    compare(f"re-ranking of 3,803 + 301 from distances, {variant}", functions)
